"""Everything that a job may try against its walls and live through; prints one JSON object, name -> what happened.

HOST is put before this script by the test: what there would be to find and to hit on the machine outside.
"""

import ctypes
import errno
import fcntl
import importlib
import json
import os
import platform
import resource
import signal
import socket
import sys
import termios

HOST: dict = globals().get("HOST", {})
X86 = platform.machine() == "x86_64"
libc = ctypes.CDLL(None, use_errno=True)
happened: dict[str, object] = {}


def attempt(name, action):
    try:
        result = action()
    except OSError as error:
        result = errno.errorcode.get(error.errno, type(error).__name__)
    except Exception as error:
        result = type(error).__name__
    happened[name] = result if isinstance(result, (str, int, bool, list, dict, type(None))) else "succeeded"


def call(x86, aarch64, *arguments):
    ctypes.set_errno(0)
    result = libc.syscall(ctypes.c_long(x86 if X86 else aarch64), *(ctypes.c_ulong(argument) for argument in arguments))
    return "succeeded" if result != -1 else errno.errorcode.get(ctypes.get_errno(), "failed")


def write(path):
    with open(path, "a") as file:
        file.write("x")


def writable_folders():
    found = []
    for folder, folders, _ in os.walk("/"):
        try:
            os.close(os.open(os.path.join(folder, "probe"), os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC))
            found.append(folder)
        except OSError:
            pass
        folders[:] = [one for one in folders if not os.path.islink(os.path.join(folder, one))]
    return found


def open_descriptors():
    found = []
    for descriptor in range(resource.getrlimit(resource.RLIMIT_NOFILE)[0]):
        try:
            os.fstat(descriptor)
            found.append(descriptor)
        except OSError:
            pass
    return found


text = ctypes.c_char_p(b"/tmp")
buffer = ctypes.create_string_buffer(512)
address = ctypes.addressof(buffer)

packages = [os.path.join(os.path.dirname(os.__file__), name) for name in ("site-packages", "dist-packages")]

# network
attempt("tcp", lambda: socket.create_connection(("127.0.0.1", HOST["port"]), timeout=2))
attempt("udp", lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
attempt("unix socket", lambda: socket.socket(socket.AF_UNIX))
attempt("abstract unix socket pair", socket.socketpair)
attempt("netlink", lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW))
attempt("name lookup", lambda: socket.getaddrinfo("hospital.example", 443))

# the host's files
for path in HOST["files"]:
    attempt(f"read {path}", lambda path=path: open(path, "rb").read(1) or "succeeded")
for path in HOST["folders"]:
    attempt(f"list {path}", lambda path=path: os.listdir(path))
attempt("list /", lambda: sorted(os.listdir("/")))
attempt("list /dev", lambda: os.listdir("/dev"))
attempt("list /opt", lambda: sorted(os.listdir("/opt")))
attempt("list /opt/site", lambda: sorted(os.listdir("/opt/site")))
attempt(
    "packages installed into the interpreter", lambda: [name for folder in packages if os.path.isdir(folder) for name in os.listdir(folder)]
)
for module in ("pydantic", "cryptography", "duckdb", "pip", "pumasi.hub", "pumasi.store", "pumasi.node.sources"):
    attempt(f"import {module}", lambda module=module: importlib.import_module(module))
attempt("paths of the host", lambda: [word for word in [*sys.argv, *sys.orig_argv, *sys.path, sys.executable] if HOST["marker"] in word])

# writing
for path in (
    "/x",
    "/dev/x",
    "/usr/lib/x",
    "/opt/x",
    "/opt/pumasi/pumasi/__init__.py",
    "/opt/site/numpy/__init__.py",
    "/opt/python/bin/python3",
):
    attempt(f"write {path}", lambda path=path: write(path))
attempt("write /tmp/x", lambda: write("/tmp/x"))
attempt("folders to write in", writable_folders)
attempt("symbolic link in /tmp", lambda: os.symlink("/etc/passwd", "/tmp/link"))
attempt("hard link in /tmp", lambda: os.link("/tmp/x", "/tmp/hard"))
attempt("device in /tmp", lambda: os.mknod("/tmp/device", 0o600 | 0o020000, os.makedev(1, 1)))
attempt("set-user-id file in /tmp", lambda: os.chmod("/tmp/x", 0o4755))

# mounts, namespaces, privileges
for name, x86, aarch64, *arguments in (
    ("mount", 165, 40, 0, ctypes.addressof(buffer), 0, 4096, 0),
    ("umount2", 166, 39, 0, 2),
    ("pivot_root", 155, 41, address, address),
    ("chroot", 161, 51, address),
    ("fsopen", 430, 430, address, 0),
    ("open_tree", 428, 428, 0, address, 1),
    ("move_mount", 429, 429, 0, address, 0, address, 0),
    ("unshare user", 272, 97, 0x10000000),
    ("unshare mount", 272, 97, 0x00020000),
    ("setns", 308, 268, 0, 0),
    ("clone with a new user namespace", 56, 220, 0x10000000 | 17, 0, 0, 0, 0),
    ("clone of a process", 56, 220, 17, 0, 0, 0, 0),
    ("clone of a thread in a new network", 56, 220, 0x40000000 | 0x10000 | 0x800 | 0x100, 0, 0, 0, 0),
    ("clone3", 435, 435, address, 88),
    ("setuid", 105, 146, 0),
    ("setresuid", 117, 147, 0, 0, 0),
    ("setgroups", 116, 159, 0, address),
    ("capset", 126, 91, address, address),
    ("prctl", 157, 167, 38, 0, 0, 0, 0),
    ("seccomp", 317, 277, 1, 0, address),
    ("personality", 135, 92, 0x0040000),
    ("sethostname", 170, 161, address, 1),
    ("reboot", 169, 142, 0xFEE1DEAD, 672274793, 0),
    ("init_module", 175, 105, address, 1, address),
    ("bpf", 321, 280, 0, address, 64),
    # other processes and their descriptors
    ("ptrace of pid 1", 101, 117, 16, 1, 0, 0),
    ("ptrace of itself", 101, 117, 0, 0, 0, 0),
    ("process_vm_readv", 310, 270, 1, address, 1, address, 1, 0),
    ("pidfd_open", 434, 434, 1, 0),
    ("pidfd_getfd", 438, 438, 0, 1, 0),
    ("kcmp", 312, 272, 1, 2, 0, 0, 0),
    ("kill of pid 1", 62, 129, 1, 9),
    ("kill of everything", 62, 129, 2**64 - 1, 9),
    ("kill of the host's process", 62, 129, HOST["pid"], 9),
    ("tkill", 200, 130, 1, 9),
    ("tgkill of pid 1", 234, 131, 1, 1, 9),
    ("tgkill of the host's process", 234, 131, HOST["pid"], HOST["pid"], 9),
    ("rt_sigqueueinfo", 129, 138, 1, 9, address),
    ("another process's limits", 302, 261, 1, 7, 0, address),
    ("a new limit", 302, 261, 0, 7, address, 0),
    # memory that survives, and kernel services with a history of holes
    ("keyctl", 250, 219, 0, 2**64 - 3, 1),
    ("add_key", 248, 217, address, address, address, 1, 2**64 - 3),
    ("userfaultfd", 323, 282, 0),
    ("io_uring_setup", 425, 425, 8, address),
    ("perf_event_open", 298, 241, address, 0, 2**64 - 1, 2**64 - 1, 0),
    ("memfd_create", 319, 279, address, 0),
    ("shmget", 29, 194, 0, 4096, 0o1600),
    ("msgget", 68, 186, 0, 0o1600),
    ("inotify_init1", 294, 26, 0),
    ("execveat", 322, 281, 0, address, 0, 0, 0),
    ("open_by_handle_at", 304, 265, 0, address, 0),
):
    attempt(name, lambda x86=x86, aarch64=aarch64, arguments=arguments: call(x86, aarch64, *arguments))
attempt("fork", os.fork)
attempt("execve", lambda: os.execv("/opt/python/bin/python3", ["python3", "-c", "print(1)"]))
attempt("raising a limit", lambda: resource.setrlimit(resource.RLIMIT_CPU, (1 << 20, 1 << 20)))
attempt("lowering a limit", lambda: resource.setrlimit(resource.RLIMIT_CPU, (1, 1)))
attempt("owner of a pipe's signals", lambda: fcntl.fcntl(1, fcntl.F_SETOWN, 1))
attempt("a larger pipe", lambda: fcntl.fcntl(1, 1031, 1 << 20))
for descriptor in (0, 1, 2):
    attempt(f"TIOCSTI on {descriptor}", lambda descriptor=descriptor: fcntl.ioctl(descriptor, termios.TIOCSTI, b"x"))
attempt("TIOCLINUX", lambda: fcntl.ioctl(0, 0x541C, b"\x02"))

# what it can know
attempt("environment", lambda: dict(os.environ))
attempt("environment of the C library", lambda: ctypes.cast(libc.getenv(b"LD_LIBRARY_PATH"), ctypes.c_void_p).value)
attempt("host name", lambda: os.uname().nodename)
attempt("own pid", os.getpid)
attempt("is root", lambda: 0 in (os.getuid(), os.geteuid(), os.getgid(), os.getegid()))
attempt("open descriptors", open_descriptors)
attempt("a byte of the node's requests", lambda: len(os.read(0, 1)))
attempt(
    "limits", lambda: {name: resource.getrlimit(getattr(resource, f"RLIMIT_{name}"))[1] for name in ("AS", "NPROC", "FSIZE", "CORE", "CPU")}
)
attempt("signal to itself", lambda: (signal.signal(signal.SIGUSR1, signal.SIG_IGN), signal.raise_signal(signal.SIGUSR1)) and "works")
print(json.dumps(happened))
