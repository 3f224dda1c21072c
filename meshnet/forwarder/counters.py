"""Why a frame or a datagram was dropped: one name per reason, counted for the life of the process."""

from enum import Enum, unique

__all__ = ["Drop", "DropCounters"]


@unique
class Drop(Enum):
    """Drop reasons as `status` and the metrics spell them."""

    RUNT = "runt"
    UNKNOWN_TYPE = "unknown_type"
    UNKNOWN_SESSION = "unknown_session"
    UNKNOWN_LANE = "unknown_lane"
    BAD_HEADER = "bad_header"
    BAD_TAG = "bad_tag"
    REPLAY = "replay"
    FOREIGN_ADDRESS = "foreign_address"
    REASSEMBLY_EXPIRED = "reassembly_expired"
    REASSEMBLY_FULL = "reassembly_full"
    REASSEMBLY_CONFLICT = "reassembly_conflict"
    MALFORMED_ENTRY = "malformed_entry"
    UNKNOWN_ENTRY = "unknown_entry"
    UNKNOWN_NETWORK = "unknown_network"
    NOT_A_MEMBER = "not_a_member"
    SPOOFED_SOURCE = "spoofed_source"
    BAD_VNET_HEADER = "bad_vnet_header"
    TAP_FULL = "tap_full"
    TAP_REFUSED = "tap_refused"
    NO_DESTINATION = "no_destination"
    BROADCAST_LIMIT = "broadcast_limit"
    STAGE_FULL = "stage_full"
    SOCKET_FULL = "socket_full"
    SEND_FAILED = "send_failed"
    TOO_BIG = "too_big"
    NO_SOCKET = "no_socket"
    KEY_EXPIRED = "key_expired"
    HANDSHAKE_LENGTH = "handshake_length"
    HANDSHAKE_MAC = "handshake_mac"
    HANDSHAKE_REPEATED = "handshake_repeated"
    HANDSHAKE_NO_COOKIE = "handshake_no_cookie"
    HANDSHAKE_RATE = "handshake_rate"
    COOKIE_LIMIT = "cookie_limit"
    COOKIE_UNASKED = "cookie_unasked"
    COOKIE_RATE = "cookie_rate"
    PROBE_LIMIT = "probe_limit"
    UNKNOWN_ECHO = "unknown_echo"
    FACT_QUEUE = "fact_queue"
    BAD_VERB = "bad_verb"


class DropCounters(dict[Drop, int]):
    """Counts per reason; every reason is present from the start, so a hot path adds without looking."""

    def __init__(self) -> None:
        super().__init__((reason, 0) for reason in Drop)

    def nonzero(self) -> dict[str, int]:
        """The reasons that happened, by name."""
        return {reason.value: count for reason, count in self.items() if count}
