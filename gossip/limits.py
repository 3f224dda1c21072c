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
TAG_B = 8
COMMITMENT_B = 32
NONCE_B = 8

MAX_STATEMENT_B = 4096  # the signed part of one statement
MAX_KIND_CHARS = 16
MAX_KEY_B = 64
MAX_MESSAGE_B = 60_000  # one message on a link, the secured stream's largest plaintext
MAX_OWNERS = 4096
MAX_STATEMENTS_PER_OWNER = 2048
MAX_OWN_TOMBSTONES = 512  # beyond it the owner begins a new incarnation, which forgets them everywhere
MAX_OWN_AUTHORITY = 512  # revocations and the like of this peer, withdrawn ones included: they share its quota
OWNER_BURST = 4096.0  # new statements of one owner that are taken in at once: twice all it may have
OWNER_PER_S = 50.0  # and then per second
AWAKE_OWNERS = 256  # owners whose statements are held parsed; all others, and at rest these too, are packed
MAX_SHARED = 64  # certificates of issuers that packed statements share
MAX_KINDS = 64  # names of kinds that they share
REPACKED = 64  # owners packed once more at a time, after more identities have become known
MAX_SETTLE_TRIES = 64  # sets of slots that are tried as those a manifest counts, when some were said anew since
MAX_PROOFS_PER_OWNER = 4  # equivocations remembered, the highest incarnations

MAX_NAME_CHARS = 63
MAX_ADDRESSES = 16
MAX_ADDRESS_CHARS = 80
MAX_CHAIN = 8
MAX_CERTIFICATE_B = 512
MAX_VERSION_CHARS = 32
MAX_SECRETS = 3  # mesh secrets a peer holds at one time: current, next, previous
MAX_REASON_CHARS = 120
MAX_POOLS = 8
MAX_ENDPOINT_ADDRESSES = 16
MAX_ENDPOINT_ID_B = 64
MIN_MTU = 576
MAX_MTU = 65_535
DEFAULT_MTU = 1500

SMALL_MESH = 50  # peers; in larger meshes what can wait is said the rarer, the more peers would hear it
TARGET_LINKS = 6  # below it a peer dials others
KEPT_LINKS = 8  # above it a peer closes one that both ends can spare, once in TRIM_S
TRIM_S = 5.0
TRIM_SHARE_S = 5.0  # or, if that is more, this for each peer beyond SMALL_MESH, by the square of the links too many
TRIM_AFTER_S = 20.0  # no link younger than this is closed for being one too many
RING_LINKS = 2  # the peers that follow in the circle of identities, which every peer wants links to
RING_PATIENCE_S = 2.0  # how long such a peer must be the one before it is dialled
MAX_NEW_DIALS = 2  # dials that begin within DIAL_GAP_S
DIAL_GAP_S = 1.0
MAX_LINKS = 64  # above it a new link is closed
HEARTBEAT_S = 3.0
SILENCE_S = 10.0  # a link that said nothing for so long is dead
STALE_S = 4.0  # a link this silent yields to a new one to the same peer
DIGEST_S = 5.0  # anti-entropy with one random link
GREET_S = 1.0  # a link that comes up this soon after another begins its exchange about that much later
PUSH_AHEAD = 6  # so many times news leave at once
PUSH_PACE_S = 0.1  # then so rarely, so that what changes again meanwhile is sent once
PUSH_BURST_B = 64_000  # news that leave on one link at a time: 640 kB/s
MAX_PENDING = 2048  # news that wait for one link; beyond it a digest takes their place
FIRST_DIAL_S = 1.0
MAX_DIAL_S = 30.0
PROBE_PICKS = 16  # random peers looked at for one that is not reached; with many peers, many look
DIAL_PATIENCE_S = 5.0  # how long a dial counts as under way
LINKS_WAIT_S = 0.4  # a new link is said this much later: several often come together
LINKS_PACE_S = 1.0  # the own links statement changes at most this often
BEAT_TURN_MS = 65_536  # heartbeats tell the time in ms modulo this
MAX_RTT_MS = 8192  # what took longer was no round trip
RTT_SAMPLES = 16  # round trips of a link that are remembered
RTT_LEAST = 5  # with fewer its cost is not known
MAX_COST = 14  # the step of MAX_RTT_MS
UNKNOWN_RTT_MS = 256  # what a link counts as while neither end says more
COST_WAIT_S = 20.0  # after its last links statement a peer says no new one for costs alone for so long
COST_SHARE_S = 16.0  # and up to so much longer for each peer beyond SMALL_MESH: one such statement in 16 s, mesh-wide
COST_PACE_S = 600.0  # the same for costs that were said and changed: links whose round trip wanders all day
REACH_PACE_S = 0.25  # reachability is computed at most this often
RENEW_PACE_S = 2.0  # forced new incarnations: two hosts with one identity must not race each other
CLONED_PACE_S = 30.0  # the same once it is known that two hosts have this identity, and the other was answered
CLONED_ANSWERS = 4  # so many times a host that knows of its clone begins anew at RENEW_PACE_S: the other needs to hear
CLONED_S = 600.0  # how long a host with a clone gives nothing out after it last heard of the other
DOUBT_S = 10.0  # how long a host with rolled-back state gives nothing out at least, to hear what it had given
LONE_S = 60.0  # the same where nobody else is known and nobody links
MAX_BOOTS = 8  # boot ids remembered, own ones and those of hosts that speak as this one

CLAIM_S = 0.9  # how long founding a network or asking for addresses may take before it is refused
ASK_S = 0.3  # how long one donor is waited for before the next is asked
ASK_AHEAD_S = 5.0  # how often a peer asks for addresses of one network before it needs them
MAX_WAITING = 64  # allocations, and claims, that wait for an answer at one time
MAX_OPEN_REQUESTS = 4096  # requests of other peers to this one that wait for it
MAX_ANSWERS_PER_STEP = 16
MAX_OWN_GRANTS = 1024  # beyond it a peer gives nothing more: grants must never fall to the owner's quota
MAX_LATE_CLAIMS = 256  # claims given up, whose grant may still come
MAX_HOLDERS = 8  # peers that held a network's name, remembered in a register
MAX_ROWS = 64  # of one chunk of a register
MAX_CHUNK_B = 3600  # a chunk's body, so that it fits into a statement
MAX_CHUNKS = 256  # of one edition
MAX_FORKS = 64  # ranges given twice that are remembered, of one network; and so many of all are told
REGISTER_AFTER = 256  # grants of a network that no register covers, before an admin proposes the next edition
REGISTER_PACE_S = 600.0  # editions of one network are proposed at most this often
REGISTER_PATIENCE_S = 120.0  # how long a proposal waits to be acknowledged by all
REGISTER_LOOK_S = 1.0  # custody is looked at for registers at most this often
REGISTER_RETRY_S = 30.0  # an edition that is due, but cannot be proposed now, is thought of again
MAX_PRUNED = 64  # grants that are withdrawn in one step
REGISTER_RESERVE = 256  # statements that the chunks of an edition leave its author to say
MAX_RECLAIMED = 16  # peers named in one reclaim
RECLAIM_S = 10.0  # how long it may take before it is refused
RECLAIM_TRY_S = 3.0  # then it begins anew: what its promises kept back is heard in between
HEARD_S = 60.0  # who was heard of so lately is not dead
CONSENT_PACE_S = 0.25  # an answer that changes is said this rarely
MAX_OWN_FENCES = 256  # a fence is never forgotten
RECLAIM_RESERVE = 256  # statements that a reclaim leaves its author to say
CLAIMED_BLOCK = 16  # addresses given around one that was asked for by name, at most
FEW_TILES = 4  # who owns as many of a network gets such an address lent, not given
LOAN_KEPT_S = 3600.0  # a lent address that nobody uses any more is kept for its borrower so long
LAPSE_S = 5.0  # an endpoint's address that turns out to be another peer's is given up after so long
MAX_LENT = 256  # addresses a peer lends at one time
MAX_BORROWED = 256  # addresses it borrows at one time: the requests that hold them must never fall to its quota
LOW_ADDRESSES = 8  # a peer with fewer free addresses, or less than an eighth of what it owns, asks ahead
LOW_TO_GIVE = 64  # the same of one that gave some away: enough for the six that join next, if it is answered soon

DIGEST_BUCKETS = 32
MAX_BURST_B = 400_000  # statements in the answer to one request
RESUME_S = 0.5  # after an answer that was cut, the next digest on that link
MAX_OWNERS_PER_MESSAGE = 1200
MAX_STATEMENTS_PER_MESSAGE = 1024
MAX_PROOFS_PER_MESSAGE = 6
