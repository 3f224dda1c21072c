"""The private thread: order, bound, failures, closing, on asyncio and on uvloop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator

import pytest
import uvloop

from meshnet.host import netlink as module
from meshnet.host.errors import HostError
from meshnet.host.netlink import Netlink
from meshnet.host.ports import NetlinkPort

LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "asyncio": asyncio.SelectorEventLoop,
    "uvloop": uvloop.new_event_loop,
}


@pytest.fixture
def netlink() -> Iterator[Netlink]:
    netlink = Netlink()
    yield netlink
    netlink.close()


@pytest.mark.parametrize("loop", sorted(LOOPS))
def test_the_kernel_answers_whatever_loop_runs(netlink: Netlink, loop: str) -> None:
    port: NetlinkPort = netlink

    async def ask() -> int:
        links, routes, addresses = await asyncio.gather(port.list_links(), port.routes(), port.addresses())
        assert isinstance(links, list) and isinstance(routes, list) and isinstance(addresses, list)
        return await port.route_mtu("127.0.0.1")

    with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
        assert runner.run(ask()) > 1500


async def test_calls_share_one_thread_that_is_gone_after_close() -> None:
    netlink = Netlink()
    threads = {await netlink._run(lambda _: threading.current_thread()) for _ in range(5)}
    assert len(threads) == 1 and threading.current_thread() not in threads
    netlink.close()
    assert not threads.pop().is_alive()
    netlink.close()
    with pytest.raises(HostError, match="closed"):
        await netlink.list_links()


async def test_waiting_calls_are_bounded(netlink: Netlink) -> None:
    gate = threading.Event()
    first = asyncio.ensure_future(netlink._run(lambda _: gate.wait(20)))
    others = [asyncio.ensure_future(netlink.list_links()) for _ in range(module.MAX_WAITING - 1)]
    await asyncio.sleep(0)
    with pytest.raises(HostError, match="busy"):
        await netlink.list_links()
    gate.set()
    assert await first
    await asyncio.gather(*others)
    await netlink.list_links()


async def test_a_failed_call_leaves_the_thread_working(netlink: Netlink) -> None:
    with pytest.raises(HostError, match="ENODEV"):
        await netlink.set_up("mn0000dead")
    await netlink.delete_link("mn0000dead")
    with pytest.raises(HostError, match="literal IP address"):
        await netlink.route_mtu("example")


async def test_a_cancelled_call_does_not_cancel_the_next(netlink: Netlink) -> None:
    gate = threading.Event()
    call = asyncio.ensure_future(netlink._run(lambda _: gate.wait(20)))
    await asyncio.sleep(0)
    call.cancel()
    gate.set()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert isinstance(await netlink.list_links(), list)


async def test_a_namespace_that_is_none_is_refused_at_the_first_call() -> None:
    netlink = Netlink("/dev/null")
    try:
        with pytest.raises(HostError, match="not a network namespace"):
            await netlink.list_links()
    finally:
        netlink.close()


async def test_notes_of_the_thread_are_seen_outside(netlink: Netlink) -> None:
    await netlink._run(lambda rtnl: rtnl.note("no such thing"))
    assert netlink.notes() == ["no such thing"]
