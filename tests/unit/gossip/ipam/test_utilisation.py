from __future__ import annotations

from tests.unit.gossip.dying import Dying, attach, lend


def test_shares_of_all_peers() -> None:
    mesh = Dying(3)
    one, two, lost = mesh.cores
    attach(one, b"mine", mesh.now)
    attach(two, b"theirs", mesh.now)
    lend(lost, two, mesh.now)
    mesh.wires.pump(mesh.now)
    mesh.kill(lost)
    mesh.pass_(5.0)
    shares = {share.peer: share for share in one.node.utilisation()}
    assert sorted(shares) == sorted(core.identity for core in mesh.cores)
    assert sum(share.owned for share in shares.values()) == 2**20 - 3  # gateway, network and broadcast
    assert [shares[core.identity].used for core in mesh.cores] == [1, 1, 0]
    assert [shares[core.identity].lent for core in mesh.cores] == [0, 0, 1]
    assert [shares[core.identity].reachable for core in mesh.cores] == [True, True, False]
    assert not any(share.left for share in shares.values())


def test_a_lease_counts_before_its_endpoint_is_announced() -> None:
    mesh = Dying(2)
    one, two = mesh.cores
    one.take(one.node.allocate(1, b"soon", mesh.now)[0])
    assert one.node.held() == [(1, b"soon", one.node.leases()[0])]
    assert [share.used for share in one.node.utilisation() if share.peer == one.identity] == [1]
    assert [share.used for share in two.node.utilisation() if share.peer == one.identity] == [0]
