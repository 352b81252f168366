"""What a child that is the prototype `tdns` is told beside our own extended errors. Pure.

It takes a REFUSED without a code that it knows for final.
"""

from zonecut.protocol.codepoints import CodePoints, EdeCode, Rcode
from zonecut.protocol.ede import ExtendedError


def tdns_error(rcode: Rcode, error: ExtendedError | None, codepoints: CodePoints) -> ExtendedError | None:
    """Its extended error, as it is since August 2026, for a response with this RCODE and this error of ours, if any."""
    if rcode == Rcode.BADKEY:
        return ExtendedError(codepoints.ede_tdns_key_unknown, "SIG(0) key not known")
    if error is None:
        return None
    later = ExtendedError(codepoints.ede_tdns_unverified, "could not be verified, try later")
    return {
        codepoints.ede_key_known_not_trusted: ExtendedError(
            codepoints.ede_tdns_key_not_trusted, "SIG(0) key known, but not yet trusted"
        ),
        codepoints.ede_key_validation_failed: ExtendedError(
            codepoints.ede_tdns_validation_failed, "automatic bootstrap: validation failed"
        ),
        codepoints.ede_manual_bootstrap_required: ExtendedError(
            codepoints.ede_tdns_manual_bootstrap, "manual bootstrap required"
        ),
        EdeCode.RATE_LIMITED: later,
        EdeCode.OVER_QUOTA: later,
    }.get(error.code)
