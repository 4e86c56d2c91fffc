/* SPDX-License-Identifier: Apache-2.0 */
/* Generated from plan/wire.py and plan/steps.py by `python -m boxship.plan.wire`; do not edit. */
#pragma once
#include <stdint.h>

#define PLAN_MAGIC 0x314e4c50584f42ull
#define MAX_PLAN 16777216u
#define MAX_STEPS 4096u
#define MAX_SLOTS 256u
#define MAX_REPORT 1024u

enum side { SIDE_MONITOR = 0, SIDE_CHILD = 1 };

enum slot { SLOT_NONE = 255, SLOT_HOST_PROC = 1, SLOT_DEV_NULL = 2, SLOT_ROOT = 3, SLOT_SYNC = 4, SLOT_PTY = 5, SLOT_CLIENT = 10, SLOT_STDIN_MONITOR = 13, SLOT_STDOUT_MONITOR = 14, SLOT_STDERR_MONITOR = 16 };

enum report_kind { REPORT_READY = 1, REPORT_CREATED = 2, REPORT_WARNING = 3, REPORT_FAILED = 4, REPORT_ENTERED = 5 };

enum frame_kind { FRAME_STDIN = 0, FRAME_STDOUT = 1, FRAME_STDERR = 2, FRAME_RESIZE = 3, FRAME_CLOSE = 4, FRAME_EXIT = 5, FRAME_SIGNAL = 6 };

enum word { ATTACH_NOFOLLOW = 1, ATTACH_PROC = 2, PIVOT = 0, PIVOT_MOVE = 1, PIVOT_CHROOT = 2, RESTART_NO = 0, RESTART_ON_FAILURE = 1, RESTART_ALWAYS = 2 };

enum op { OP_OPEN = 1, OP_OPEN_IN = 2, OP_PIPE = 3, OP_CLOSE = 4, OP_DUP = 5, OP_WRITE = 6, OP_WRITE_SLOT = 7, OP_WRITE_PROC = 8, OP_SETNS = 9, OP_CLONE = 10, OP_WAIT = 11, OP_WAKE = 12, OP_READY = 13, OP_OPEN_TREE = 14, OP_FS_MOUNT = 15, OP_SET_ATTR = 16, OP_IDMAP = 17, OP_ROOT = 18, OP_ATTACH = 19, OP_COPY_UP = 20, OP_MASK = 21, OP_READ_ONLY = 22, OP_MK_DIR = 23, OP_MK_NOD = 24, OP_SYM_LINK = 25, OP_PIVOT = 26, OP_CALL = 27, OP_CONSOLE = 28, OP_SECCOMP = 29, OP_NOTIFY = 30, OP_NETLINK = 31, OP_RUN = 32, OP_LOOKUP = 33, OP_BARRIER = 34, OP_INIT = 35, OP_EXEC = 36, OP_TAKE_PTY = 37, OP_SUPERVISE = 38, OP_CH_DIR = 39, OP_SET_CAPS = 40, OP_BOUND = 41, OP_ENTER = 42, OP_ADOPT = 43, OP_COUNT = 44 };

enum { OPEN_SLOT = 0, OPEN_PATH = 1, OPEN_FLAGS = 2 };

enum { OPEN_IN_SLOT = 0, OPEN_IN_PATH = 1, OPEN_IN_FLAGS = 2 };

enum { PIPE_READ = 0, PIPE_WRITE = 1 };

enum { CLOSE_SLOT = 0 };

enum { DUP_SLOT = 0, DUP_FD = 1 };

enum { WRITE_SLOT = 0, WRITE_PATH = 1, WRITE_DATA = 2 };

enum { WRITE_SLOT_SLOT = 0, WRITE_SLOT_DATA = 1, WRITE_SLOT_PATH = 2 };

enum { WRITE_PROC_PATH = 0, WRITE_PROC_DATA = 1 };

enum { SETNS_SLOT = 0, SETNS_FLAGS = 1, SETNS_PATH = 2 };

enum { CLONE_FLAGS = 0, CLONE_CGROUP = 1 };

enum { OPEN_TREE_SLOT = 0, OPEN_TREE_PATH = 1, OPEN_TREE_RECURSIVE = 2 };

enum { FS_MOUNT_SLOT = 0, FS_MOUNT_FSTYPE = 1, FS_MOUNT_OPTIONS = 2, FS_MOUNT_ATTRS = 3 };

enum { SET_ATTR_SLOT = 0, SET_ATTR_SET = 1, SET_ATTR_CLEAR = 2, SET_ATTR_PROPAGATION = 3, SET_ATTR_RECURSIVE = 4 };

enum { IDMAP_SLOT = 0, IDMAP_USERNS = 1, IDMAP_RECURSIVE = 2 };

enum { ROOT_SLOT = 0, ROOT_TARGET = 1 };

enum { ATTACH_SLOT = 0, ATTACH_TARGET = 1, ATTACH_FLAGS = 2 };

enum { COPY_UP_SLOT = 0, COPY_UP_TARGET = 1 };

enum { MASK_TARGET = 0 };

enum { READ_ONLY_TARGET = 0 };

enum { MK_DIR_PATH = 0, MK_DIR_MODE = 1 };

enum { MK_NOD_PATH = 0, MK_NOD_MODE = 1, MK_NOD_MAJOR = 2, MK_NOD_MINOR = 3, MK_NOD_UID = 4, MK_NOD_GID = 5 };

enum { SYM_LINK_TARGET = 0, SYM_LINK_PATH = 1 };

enum { PIVOT_HOW = 0 };

enum { CALL_WHICH = 0, CALL_A = 1, CALL_B = 2, CALL_C = 3, CALL_D = 4, CALL_AT = 5, CALL_DATA = 6 };

enum { CONSOLE_SOCKET = 0, CONSOLE_MOUNT = 1, CONSOLE_ROWS = 2, CONSOLE_COLUMNS = 3, CONSOLE_UID = 4 };

enum { SECCOMP_PROGRAM = 0, SECCOMP_FLAGS = 1, SECCOMP_NOTIFY = 2 };

enum { NOTIFY_SOCKET = 0, NOTIFY_STATE = 1, NOTIFY_PID_AT = 2 };

enum { NETLINK_MESSAGES = 0, NETLINK_PID_AT = 1, NETLINK_WHAT = 2 };

enum { RUN_ARGV = 0, RUN_ENV = 1, RUN_STDIN = 2, RUN_PID_AT = 3, RUN_TIMEOUT_MS = 4, RUN_WHAT = 5 };

enum { LOOKUP_PROGRAM = 0, LOOKUP_PATH = 1 };

enum { BARRIER_START = 0, BARRIER_STATUS = 1 };

enum { EXEC_ARGV = 0, EXEC_ENV = 1 };

enum { TAKE_PTY_SOCKET = 0 };

enum { SUPERVISE_DIRECTORY = 0, SUPERVISE_LOG_SIZE = 1, SUPERVISE_LOG_FILES = 2, SUPERVISE_RESTART = 3, SUPERVISE_RESTART_MAX = 4, SUPERVISE_TIMEOUT_MS = 5, SUPERVISE_STOP_SIGNAL = 6, SUPERVISE_OOM_FILE = 7, SUPERVISE_AFTER = 8 };

enum { CH_DIR_PATH = 0 };

enum { SET_CAPS_HEAD = 0, SET_CAPS_DATA = 1 };

enum { BOUND_KEEP = 0, BOUND_LAST = 1 };

struct plan_header {
    uint64_t magic;
    uint32_t size; /* of the whole plan in bytes */
    uint32_t count; /* of steps */
    int32_t report; /* descriptor of the report pipe */
    int32_t trace; /* descriptor of the trace memfd, or -1 */
    uint32_t flags; /* reserved, 0 */
    uint32_t slots; /* number of (slot, descriptor) pairs that follow the header */
};

#define PLAN_SIGNATURES { \
    [OP_OPEN] = "usu", \
    [OP_OPEN_IN] = "usu", \
    [OP_PIPE] = "uu", \
    [OP_CLOSE] = "u", \
    [OP_DUP] = "uu", \
    [OP_WRITE] = "usb", \
    [OP_WRITE_SLOT] = "ubs", \
    [OP_WRITE_PROC] = "sb", \
    [OP_SETNS] = "uus", \
    [OP_CLONE] = "uu", \
    [OP_WAIT] = "", \
    [OP_WAKE] = "", \
    [OP_READY] = "", \
    [OP_OPEN_TREE] = "usu", \
    [OP_FS_MOUNT] = "usau", \
    [OP_SET_ATTR] = "uuuuu", \
    [OP_IDMAP] = "uuu", \
    [OP_ROOT] = "us", \
    [OP_ATTACH] = "usu", \
    [OP_COPY_UP] = "us", \
    [OP_MASK] = "s", \
    [OP_READ_ONLY] = "s", \
    [OP_MK_DIR] = "su", \
    [OP_MK_NOD] = "suuuuu", \
    [OP_SYM_LINK] = "ss", \
    [OP_PIVOT] = "u", \
    [OP_CALL] = "uuuuuub", \
    [OP_CONSOLE] = "uuuuu", \
    [OP_SECCOMP] = "buu", \
    [OP_NOTIFY] = "ubu", \
    [OP_NETLINK] = "bus", \
    [OP_RUN] = "aabuus", \
    [OP_LOOKUP] = "ss", \
    [OP_BARRIER] = "uu", \
    [OP_INIT] = "", \
    [OP_EXEC] = "aa", \
    [OP_TAKE_PTY] = "u", \
    [OP_SUPERVISE] = "suuuuuusa", \
    [OP_CH_DIR] = "s", \
    [OP_SET_CAPS] = "bb", \
    [OP_BOUND] = "uu", \
    [OP_ENTER] = "", \
    [OP_ADOPT] = "", \
}
#define PLAN_NAMES { \
    [OP_OPEN] = "open", \
    [OP_OPEN_IN] = "open_in", \
    [OP_PIPE] = "pipe", \
    [OP_CLOSE] = "close", \
    [OP_DUP] = "dup", \
    [OP_WRITE] = "write", \
    [OP_WRITE_SLOT] = "write_slot", \
    [OP_WRITE_PROC] = "write_proc", \
    [OP_SETNS] = "setns", \
    [OP_CLONE] = "clone", \
    [OP_WAIT] = "wait", \
    [OP_WAKE] = "wake", \
    [OP_READY] = "ready", \
    [OP_OPEN_TREE] = "open_tree", \
    [OP_FS_MOUNT] = "fs_mount", \
    [OP_SET_ATTR] = "set_attr", \
    [OP_IDMAP] = "idmap", \
    [OP_ROOT] = "root", \
    [OP_ATTACH] = "attach", \
    [OP_COPY_UP] = "copy_up", \
    [OP_MASK] = "mask", \
    [OP_READ_ONLY] = "read_only", \
    [OP_MK_DIR] = "mk_dir", \
    [OP_MK_NOD] = "mk_nod", \
    [OP_SYM_LINK] = "sym_link", \
    [OP_PIVOT] = "pivot", \
    [OP_CALL] = "call", \
    [OP_CONSOLE] = "console", \
    [OP_SECCOMP] = "seccomp", \
    [OP_NOTIFY] = "notify", \
    [OP_NETLINK] = "netlink", \
    [OP_RUN] = "run", \
    [OP_LOOKUP] = "lookup", \
    [OP_BARRIER] = "barrier", \
    [OP_INIT] = "init", \
    [OP_EXEC] = "exec", \
    [OP_TAKE_PTY] = "take_pty", \
    [OP_SUPERVISE] = "supervise", \
    [OP_CH_DIR] = "ch_dir", \
    [OP_SET_CAPS] = "set_caps", \
    [OP_BOUND] = "bound", \
    [OP_ENTER] = "enter", \
    [OP_ADOPT] = "adopt", \
}
#define CALL_COUNT 21
#define CALL_NUMBERS { SYS_sethostname, SYS_setdomainname, SYS_unshare, SYS_setsid, SYS_umask, SYS_personality, SYS_ioprio_set, SYS_prctl, SYS_prlimit64, SYS_setgroups, SYS_setresgid, SYS_setresuid, SYS_capset, SYS_sched_setattr, SYS_set_mempolicy, SYS_close_range, SYS_chdir, SYS_keyctl, SYS_fchown, SYS_mount, SYS_sched_setaffinity }
#define CALL_NAMES { "sethostname", "setdomainname", "unshare", "setsid", "umask", "personality", "ioprio_set", "prctl", "prlimit64", "setgroups", "setresgid", "setresuid", "capset", "sched_setattr", "set_mempolicy", "close_range", "chdir", "keyctl", "fchown", "mount", "sched_setaffinity" }
