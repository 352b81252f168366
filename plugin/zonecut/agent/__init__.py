"""The child side: keep what the parent holds for a child zone in step with what the child says
(draft-ietf-dnsop-delegation-mgmt-via-ddns)."""
