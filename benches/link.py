#!/usr/bin/env python3
"""A cable with a delay between two network namespaces, where the kernel has no netem.

    python benches/link.py A B --delay MS [--rate MBIT] [--mtu BYTES]

Runs as root on Linux until it is told to stop. The namespaces A and B are there (`ip netns add A`). Each gets a device `delayed`,
10.78.0.1 in A and 10.78.0.2 in B: what one sends arrives at the other MS later. With --rate `tc` limits what each sends.
"""
import argparse, collections, ctypes, fcntl, os, select, signal, struct, subprocess, time

TUNSETIFF = 0x400454CA
IFF_TAP, IFF_NO_PI = 0x0002, 0x1000
CLONE_NEWNET = 0x40000000
PR_SET_TIMERSLACK = 29
DEVICE = b"delayed"

libc = ctypes.CDLL(None, use_errno=True)


def tap(namespace):
    """A device of that namespace, as a file of its frames."""
    with open("/proc/self/ns/net") as own, open(f"/run/netns/{namespace}") as other:
        if libc.setns(other.fileno(), CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), f"cannot enter the network namespace {namespace}")
        try:
            file = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
            fcntl.ioctl(file, TUNSETIFF, struct.pack("16sH22x", DEVICE, IFF_TAP | IFF_NO_PI))
        finally:
            libc.setns(own.fileno(), CLONE_NEWNET)
    return file


def set_up(namespace, address, mtu, rate):
    lines = [f"ip -n {namespace} link set lo up", f"ip -n {namespace} addr add {address}/24 dev delayed",
             f"ip -n {namespace} link set delayed mtu {mtu} up"]
    if rate:
        lines.append(f"tc -n {namespace} qdisc add dev delayed root tbf rate {rate}mbit burst 64kb limit 16mb")
    # A pause as long as a step would have TCP begin anew, and some hosts pace what they send by a rate that they measure (bbr).
    lines.append(f"ip netns exec {namespace} sysctl -qw net.ipv4.tcp_slow_start_after_idle=0 net.ipv4.tcp_congestion_control=reno")
    for line in lines:
        subprocess.run(line.split(), check=True)


class Direction:
    def __init__(self, source, target, delay):
        self.source, self.target, self.delay = source, target, delay
        self.frames = collections.deque()

    def take(self, size):
        """All frames that wait at the source."""
        while True:
            try:
                frame = os.read(self.source, size)
            except BlockingIOError:
                return
            self.frames.append((time.monotonic() + self.delay, frame))

    def give(self):
        """Those whose time has come; when the next is due."""
        while self.frames:
            due, frame = self.frames[0]
            if due > time.monotonic():
                return due
            os.write(self.target, frame)
            self.frames.popleft()
        return None


def forward(directions, size):
    files = [direction.source for direction in directions]
    while True:
        due = [due for direction in directions if (due := direction.give()) is not None]
        wait = max(0.0, min(due) - time.monotonic()) if due else None
        ready, _, _ = select.select(files, [], [], wait)
        for direction in directions:
            if direction.source in ready:
                direction.take(size)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("namespaces", nargs=2, metavar="NAMESPACE")
    parser.add_argument("--delay", type=float, required=True, help="milliseconds, one way")
    parser.add_argument("--rate", type=int, default=0, help="megabits a second in each direction; 0: no limit")
    parser.add_argument("--mtu", type=int, default=9000)
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    a, b = (tap(namespace) for namespace in arguments.namespaces)
    for namespace, address in zip(arguments.namespaces, ("10.78.0.1", "10.78.0.2")):
        set_up(namespace, address, arguments.mtu, arguments.rate)
    # Busy processes are not to hold frames up: wake to the microsecond, before others.
    libc.prctl(PR_SET_TIMERSLACK, 1)
    os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
    delay = arguments.delay / 1e3
    forward([Direction(a, b, delay), Direction(b, a, delay)], arguments.mtu + 18)


main()
