"""The mount of a path, and whether its locks work between machines, from lines that kernels print."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sweep.claims.file_system import Mount, lock_option, locks_are_local, mount_among, mount_of, mounts_of

ROOT = "27 1 254:0 / / rw,relatime - ext4 /dev/vda rw,discard"
NFS3 = (
    "90 27 0:51 / /home rw,relatime shared:50 - nfs server:/home"
    " rw,vers=3,rsize=1048576,hard,proto=tcp,{lock}mountaddr=10.0.0.1"
)


def the_mount(line: str) -> Mount:
    (mount,) = mounts_of(line)
    return mount


@pytest.mark.parametrize(
    ("line", "option"),
    [
        (ROOT, None),
        ("30 27 0:27 / /dev/shm rw,relatime - tmpfs tmpfs rw,size=1k", None),
        (NFS3.format(lock="local_lock=none,"), None),
        (NFS3.format(lock="nolock,local_lock=all,"), "nolock"),
        (NFS3.format(lock="local_lock=flock,"), "local_lock=flock"),
        (NFS3.format(lock="local_lock=all,"), "local_lock=all"),
        (NFS3.format(lock="local_lock=posix,"), None),  # of fcntl alone
        ("91 27 0:52 / /data rw - nfs4 server:/data rw,vers=4.2,local_lock=none", None),
        ("92 27 0:53 / /scratch rw - lustre 10.1.1.1@o2ib:/fs rw,flock,lazystatfs", None),
        ("92 27 0:53 / /scratch rw - lustre 10.1.1.1@o2ib:/fs rw,localflock,lazystatfs", "localflock"),
        (
            "92 27 0:53 / /scratch rw - lustre 10.1.1.1@o2ib:/fs rw,noflock,lazystatfs",
            None,
        ),  # it fails, it does not lie
        ("93 27 0:54 / /g rw,noatime - gfs2 /dev/dm-1 rw,localflocks", "localflocks"),
        ("94 27 0:55 / /o rw - ocfs2 /dev/dm-2 rw,localflocks,coherency=full", "localflocks"),
        ("95 27 0:56 / /c rw - cifs //server/share rw,vers=3.1.1,nobrl", "nobrl"),
        ("95 27 0:56 / /c rw - cifs //server/share rw,vers=3.1.1", None),
        ("96 27 0:57 / /s rw,nosuid - fuse.sshfs host:/x rw,user_id=0", "fuse.sshfs"),
        ("97 27 0:58 / /ceph rw - ceph 10.0.0.2:/ rw,acl", None),
        ("98 27 0:59 / /x rw - ext4 /dev/vdb rw,nolock", None),  # an option means what its file system says
    ],
)
def test_the_mount_tells_whether_locks_hold_between_machines(line: str, option: str | None) -> None:
    mount = the_mount(line)
    assert lock_option(mount) == option
    assert locks_are_local(mount) is (option is not None)


def test_a_path_lies_on_the_deepest_mount_and_on_the_last_at_one_place() -> None:
    mounts = mounts_of(
        "\n".join(
            [
                "92 27 0:53 / /data/lab rw - lustre s:/fs rw,flock",
                ROOT,
                "80 27 0:40 / /home rw - autofs auto.home rw,fd=6",
                NFS3.format(lock=""),
                r"99 27 0:60 / /with\040space rw - xfs /dev/vdc rw",
                "99 27 0:60 / /line\u2028end rw - xfs /dev/vdc rw",
                "not a line of mountinfo",
            ]
        )
    )
    kinds = {
        path: mount_among(mounts, Path(path)).file_system
        for path in ("/", "/home/ada/store", "/data/lab/store", "/data/labour", "/with space/store", "/line\u2028end/a")
    }
    assert kinds == {
        "/": "ext4",
        "/home/ada/store": "nfs",
        "/data/lab/store": "lustre",
        "/data/labour": "ext4",
        "/with space/store": "xfs",
        "/line\u2028end/a": "xfs",
    }


def test_options_are_those_of_the_mount_and_of_the_file_system() -> None:
    assert the_mount("1 2 8:1 / /m ro,noatime master:1 - xfs /dev/sda1 rw,inode64").options == (
        "ro",
        "noatime",
        "rw",
        "inode64",
    )


def test_the_mount_of_a_path_that_is_not_there_yet_is_that_of_its_parent(tmp_path: Path) -> None:
    mount = mount_of(tmp_path / "store" / "submissions")
    assert mount == mount_of(tmp_path)
    assert os.path.ismount(mount.mounted_at)
