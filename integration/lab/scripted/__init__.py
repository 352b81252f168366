"""Other sides of a conversation that do what a test tells them: parents, receivers, resolvers, provisioning systems."""
