"""Every bound of the gossip package in one place.

Purpose: no length, table or pace is unbounded, and each bound has a name.
Rule: a number that limits what a peer may make this host hold, send or compute lives here (design §5).
"""

from __future__ import annotations

U32_MAX = 2**32 - 1
U64_MAX = 2**64 - 1

IDENTITY_B = 32
MESH_B = 16
SIGNATURE_B = 64
BOOT_B = 8

MAX_STATEMENT_B = 4096  # the signed part of one statement
MAX_KIND_CHARS = 16
MAX_KEY_B = 64
MAX_MESSAGE_B = 60_000  # one message on a link, the secured stream's largest plaintext
MAX_OWNERS = 4096
MAX_STATEMENTS_PER_OWNER = 2048
MAX_OWN_TOMBSTONES = 512  # beyond it the owner begins a new incarnation, which forgets them everywhere
MAX_PROOFS_PER_OWNER = 4  # equivocations remembered, the highest incarnations

MAX_NAME_CHARS = 63
MAX_ADDRESSES = 16
MAX_ADDRESS_CHARS = 80
MAX_CHAIN = 8
MAX_CERTIFICATE_B = 512
MAX_VERSION_CHARS = 32
MAX_POOLS = 8
MAX_ENDPOINT_ADDRESSES = 16
MAX_ENDPOINT_ID_B = 64
MIN_MTU = 576
MAX_MTU = 65_535

TARGET_LINKS = 8  # below it a peer dials others
MAX_LINKS = 64  # above it a new link is closed
HEARTBEAT_S = 3.0
SILENCE_S = 10.0  # a link that said nothing for so long is dead
STALE_S = 4.0  # a link this silent yields to a new one to the same peer
DIGEST_S = 5.0  # anti-entropy with one random link
FIRST_DIAL_S = 1.0
MAX_DIAL_S = 30.0
DIAL_PATIENCE_S = 5.0  # how long a dial counts as under way
LINKS_PACE_S = 1.0  # the own links statement changes at most this often
REACH_PACE_S = 0.25  # reachability is computed at most this often
RENEW_PACE_S = 2.0  # forced new incarnations: two hosts with one identity must not race each other

DIGEST_BUCKETS = 32
MAX_BURST_B = 400_000  # statements in the answer to one request
RESUME_S = 0.5  # after an answer that was cut, the next digest on that link
MAX_OWNERS_PER_MESSAGE = 1200
MAX_STATEMENTS_PER_MESSAGE = 1024
MAX_PROOFS_PER_MESSAGE = 6
