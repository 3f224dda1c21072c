"""Opening a secured stream over any reliable byte stream, without I/O: links, joining by token and by password.

Flow: the initiator sends its hello, the responder answers with its own; both enter the Noise prologue. Then the
messages of the pattern, each framed (``framing``), each with application bytes; then records either way
(``secure_stream``).

    LINK, JOIN   IKpsk2, two messages: the initiator knows the responder's static key and holds the psk
    PASSWORD     XXpsk3, three: the initiator knows an address and a password, so the responder's hello is
                 followed by 16 bytes of mesh id, from which and the password the initiator derives the psk

    StreamInitiator: data_to_send → … feed … until complete, then ``payload`` is what message 2 said;
    ``secure()``. PasswordInitiator: feed until ``mesh`` is known; ``begin(psk, payload)``; feed until complete.
    StreamResponder: feed until ``request`` shows who wants what; ``accept(psk, payload)``, on PASSWORD nothing
    is left to accept; ``secure()``.

Rule: a failure ends the stream for good: every later ``feed`` raises too. What is buffered is bounded. After
IKpsk2 the responder knows the initiator for certain (and that it holds the psk) once the first record came:
before that nothing may be given away. XXpsk3 proves both with message 3, and message 2 can be had by anybody,
so it carries nothing but the static key that the pattern puts there.
Reference: docs/wire.md; the Noise specification §7.7 and §13.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from crypto import framing
from crypto.errors import LocalError, RemoteError
from crypto.framing import HELLO_SIZE, check_hello, frame
from crypto.handshake import session_protocol
from crypto.keys import Entropy, StaticKey
from crypto.noise import HandshakeState
from crypto.password import ANY_SUITE, PASSWORD_EPOCH, PasswordInitiator, password_prologue, password_protocol
from crypto.primitives import Suite
from crypto.prologue import Channel, prologue
from crypto.secure_stream import CLOSE, PLAINTEXT_MAX, SecureStream
from crypto.stream_opening import EARLY_MAX, PAYLOAD_MAX, StreamOpening, check_payload

__all__ = [
    "CLOSE",
    "EARLY_MAX",
    "HELLO_SIZE",
    "PAYLOAD_MAX",
    "PLAINTEXT_MAX",
    "PasswordInitiator",
    "Request",
    "SecureStream",
    "StreamInitiator",
    "StreamResponder",
]


@dataclass(frozen=True)
class Request:
    """What a responder knows about who opened the stream.

    ``remote_static`` is the initiator's static key, ``static_public`` the one of ours that it used, ``epoch``
    the epoch in its hello, ``payload`` its application bytes.
    """

    channel: Channel
    epoch: int
    remote_static: bytes
    payload: bytes
    static_public: bytes


class StreamInitiator(StreamOpening):
    """The end that opens a stream to the holder of ``remote_static``.

    ``payload`` becomes the application bytes of message 1 (at most 4,096; they have no forward secrecy).
    Raises ``LocalError`` and ``KeyFormatError`` for arguments that fit no handshake.
    """

    def __init__(
        self,
        *,
        channel: Channel,
        mesh: bytes,
        suite: Suite,
        epoch: int,
        static: StaticKey,
        remote_static: bytes,
        psk: bytes,
        payload: bytes,
        entropy: Entropy,
    ) -> None:
        super().__init__()
        check_payload(payload)
        self._suite = suite
        self.remote_static = remote_static
        self.payload: bytes | None = None
        self._request = payload
        self._hello = framing.hello(channel, suite.number, epoch)

        def state(remote_hello: bytes) -> HandshakeState:
            return HandshakeState(
                session_protocol(suite),
                initiator=True,
                prologue=prologue(channel, mesh, suite, epoch, self._hello + remote_hello),
                entropy=entropy,
                static=static,
                remote_static=remote_static,
                psks=(psk,),
            )

        # Made once beforehand, so that an unusable argument is refused here and not in the middle.
        state(self._hello)
        self._make_state = state
        self._to_send += self._hello

    def _advance(self) -> None:
        if self._state is None:
            hello = framing.take_hello(self._buffer)
            if hello is None:
                return
            check_hello(self._hello, hello)
            state = self._make_state(hello)
            self._to_send += frame(state.write_message(self._request))
            self._state = state
        if not self._state.complete and (message := self._take_message()) is not None:
            self.payload = self._state.read_message(message)


class StreamResponder(StreamOpening):
    """The end that a stream is opened to.

    ``epochs`` names the channels it takes and the epochs each may have, the one in use first; PASSWORD is taken
    when ``password_psk`` (32 bytes) is given. ``statics`` are our keys, the one in use first. ``request`` is
    ``None`` until it was read; then, unless the handshake is already complete, the application chooses the psk.
    """

    def __init__(
        self,
        *,
        epochs: Mapping[Channel, Sequence[int]],
        mesh: bytes,
        suite: Suite,
        statics: Sequence[StaticKey],
        entropy: Entropy,
        password_psk: bytes | None = None,
    ) -> None:
        super().__init__()
        if not statics or not all(epochs.values()) or Channel.PASSWORD in epochs:
            raise LocalError("a responder needs a static key, and an epoch for each channel but PASSWORD")
        self._suite = suite
        self._epochs = {channel: tuple(held) for channel, held in epochs.items()}
        self._mesh = mesh
        self._statics = tuple(statics)
        self._entropy = entropy
        self._password_psk = password_psk
        self._channel: Channel | None = None
        self._epoch = PASSWORD_EPOCH
        self._hellos = b""
        self.request: Request | None = None

    @property
    def channel(self) -> Channel | None:
        """The channel that the other end's hello asked for; ``None`` before."""
        return self._channel

    def accept(self, psk: bytes, payload: bytes) -> None:
        """Answers the request with ``payload`` (at most 4,096 bytes) under ``psk`` (32 bytes).

        Raises ``LocalError`` when there is no request to answer or an argument does not fit.
        """
        check_payload(payload)
        if self._state is None or self.request is None or self._state.complete or self._failed:
            raise LocalError("there is no request to answer")
        state = self._state.copy()
        state.add_psk(psk)
        self._to_send += frame(state.write_message(payload))
        self._state = state

    def _advance(self) -> None:
        if self._channel is None:
            hello = framing.take_hello(self._buffer)
            if hello is None:
                return
            self._answer(hello)
        while self.request is None and (message := self._take_message()) is not None:
            if self._channel is Channel.PASSWORD:
                self._read_password(message)
            else:
                self._read_request(message)
        if self.request is not None and not self.complete and self._buffer:
            # The initiator has no keys for anything before our answer.
            raise RemoteError("data ahead of the answer")

    def _answer(self, hello: bytes) -> None:
        """Sends our hello, even if the two do not fit, so that the initiator can tell its operator why."""
        served = (*self._epochs, *((Channel.PASSWORD,) if self._password_psk is not None else ()))
        channel = next((channel for channel in served if channel == framing.hello_channel(hello)), None)
        if channel is None:
            raise RemoteError("hello for a channel that is not served")
        if channel is Channel.PASSWORD:
            own = framing.hello(channel, self._suite.number, PASSWORD_EPOCH)
            expected = framing.hello(channel, ANY_SUITE, PASSWORD_EPOCH)
            self._to_send += own + self._mesh
        else:
            asked, held = framing.hello_epoch(hello), self._epochs[channel]
            self._epoch = asked if asked in held else held[0]
            own = expected = framing.hello(channel, self._suite.number, self._epoch)
            self._to_send += own
        check_hello(expected, hello)
        self._channel, self._hellos = channel, hello + own

    def _read_request(self, message: bytes) -> None:
        """Message 1 of IKpsk2, which was made for one of our static keys and does not say for which."""
        channel = self._channel
        if channel is None:
            raise LocalError("there was no hello")
        for static in self._statics:
            state = HandshakeState(
                session_protocol(self._suite),
                initiator=False,
                prologue=prologue(channel, self._mesh, self._suite, self._epoch, self._hellos),
                entropy=self._entropy,
                static=static,
            )
            try:
                payload = state.read_message(message)
            except RemoteError:
                if static is self._statics[-1]:
                    raise
            else:
                self._take_request(channel, state, static, payload)
                return

    def _read_password(self, message: bytes) -> None:
        """Message 1 of XXpsk3, which is answered at once, or message 3, which ends the handshake."""
        if self._state is None:
            state = HandshakeState(
                password_protocol(self._suite),
                initiator=False,
                prologue=password_prologue(self._mesh, self._suite, self._hellos),
                entropy=self._entropy,
                static=self._statics[0],
                psks=(self._password_psk or b"",),
            )
            if state.read_message(message):
                raise RemoteError("handshake message with a payload where none belongs")
            self._to_send += frame(state.write_message(b""))
            self._state = state
        else:
            payload = self._state.read_message(message)
            self._take_request(Channel.PASSWORD, self._state, self._statics[0], payload)

    def _take_request(self, channel: Channel, state: HandshakeState, static: StaticKey, payload: bytes) -> None:
        if len(payload) > PAYLOAD_MAX:
            raise RemoteError("handshake message of an impossible length")
        remote_static = state.remote_static
        if remote_static is None or any(remote_static == own.public for own in self._statics):
            raise RemoteError("a stream opened with our own key")
        self._state = state
        self.request = Request(channel, self._epoch, remote_static, payload, static.public)
