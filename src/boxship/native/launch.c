/* SPDX-License-Identifier: Apache-2.0 */
/* Running a plan: one loop for both sides, clone3(2) between them, reports to the caller. */
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "boxmon.h"

static op *const ops[OP_COUNT] = {
    [OP_OPEN] = op_open, [OP_OPEN_IN] = op_open_in, [OP_PIPE] = op_pipe, [OP_CLOSE] = op_close,
    [OP_DUP] = op_dup, [OP_WRITE] = op_write, [OP_WRITE_SLOT] = op_write_slot, [OP_WRITE_PROC] = op_write_proc,
    [OP_SETNS] = op_setns, [OP_CLONE] = op_clone, [OP_WAIT] = op_wait, [OP_WAKE] = op_wake, [OP_READY] = op_ready,
    [OP_OPEN_TREE] = op_open_tree, [OP_FS_MOUNT] = op_fs_mount, [OP_SET_ATTR] = op_set_attr, [OP_IDMAP] = op_idmap,
    [OP_ROOT] = op_root, [OP_ATTACH] = op_attach, [OP_COPY_UP] = op_copy_up, [OP_MASK] = op_mask,
    [OP_READ_ONLY] = op_read_only, [OP_MK_DIR] = op_mk_dir, [OP_MK_NOD] = op_mk_nod, [OP_SYM_LINK] = op_sym_link,
    [OP_PIVOT] = op_pivot, [OP_CALL] = op_call, [OP_CONSOLE] = op_console, [OP_SECCOMP] = op_seccomp,
    [OP_NOTIFY] = op_notify, [OP_NETLINK] = op_netlink, [OP_RUN] = op_run, [OP_LOOKUP] = op_lookup,
    [OP_BARRIER] = op_barrier, [OP_INIT] = op_init, [OP_EXEC] = op_exec, [OP_TAKE_PTY] = op_take_pty,
    [OP_SUPERVISE] = op_supervise, [OP_CH_DIR] = op_ch_dir, [OP_SET_CAPS] = op_set_caps, [OP_BOUND] = op_bound,
    [OP_ENTER] = op_enter, [OP_ADOPT] = op_adopt,
};

int fail(struct ctx *c, const char *call, const char *path)
{
    c->call = call;
    c->path = path;
    return -1;
}

int refuse(struct ctx *c, int err, const char *call, const char *path)
{
    errno = err;
    return fail(c, call, path);
}

/* Close `fd`, if it is open, and pass `rc` on with the errno that came with it. */
int finish(int fd, int rc)
{
    int err = errno;
    if (fd >= 0)
        close(fd);
    errno = err;
    return rc;
}

int set_slot(struct ctx *c, uint64_t slot, int fd)
{
    if (slot >= SLOT_NONE) {
        if (fd >= 0)
            close(fd);
        return refuse(c, ERANGE, "slot", "");
    }
    if (c->slot[slot] >= 0 && c->slot[slot] != fd)
        close(c->slot[slot]);
    c->slot[slot] = fd;
    return 0;
}

int get_slot(const struct ctx *c, uint64_t slot)
{
    return slot < SLOT_NONE ? c->slot[slot] : -1;
}

/* One write, below PIPE_BUF, so messages of the two sides never mix. */
void report(struct ctx *c, uint32_t kind)
{
    int err = errno;
    if (kind == REPORT_FAILED && !c->in_child && c->shared->failed)
        return; /* a consequence: the child has told the cause */
    char buf[sizeof(struct report) + MAX_REPORT];
    int n = 0;
    if (kind == REPORT_WARNING || kind == REPORT_FAILED)
        n = snprintf(buf + sizeof(struct report), MAX_REPORT - sizeof(c->detail) - 2, "%.60s%c%s", c->call, 0, c->path);
    size_t room = MAX_REPORT - sizeof(c->detail) - 3, len = (size_t)n > room ? room : (size_t)n;
    char *text = buf + sizeof(struct report);
    text[len++] = '\0';
    memcpy(text + len, c->detail, c->detail_len);
    len += c->detail_len;
    struct report r = {kind, c->at, err, (uint32_t)c->child, (uint32_t)len};
    memcpy(buf, &r, sizeof r);
    if (kind == REPORT_FAILED) {
        c->shared->step = c->at;
        c->shared->err = err;
        memcpy(c->shared->text, text, len);
        c->shared->failed = 1;
    }
    /* A caller that has gone must not stop the container: its end of the pipe may be closed. */
    if (c->report >= 0 && write(c->report, buf, sizeof r + len) < 0 && errno != EPIPE)
        c->report = -1;
    c->detail_len = 0;
    errno = err;
}

static void mark(const struct ctx *c)
{
    struct timespec now;
    if (!c->trace)
        return;
    clock_gettime(CLOCK_MONOTONIC, &now);
    c->trace[c->at] = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

int run_steps(struct ctx *c, uint8_t side)
{
    for (uint32_t i = 0; i < c->plan->count; i++) {
        struct step *st = c->plan->step[i];
        if (st->side != side)
            continue;
        c->at = i;
        mark(c);
        c->call = "";
        c->path = "";
        if (ops[st->code](c, st->arg) == 0)
            continue;
        report(c, st->optional ? REPORT_WARNING : REPORT_FAILED);
        if (!st->optional)
            return -1;
    }
    return 0;
}

void reset_signals(void)
{
    sigset_t none;
    struct sigaction dfl = {.sa_handler = SIG_DFL};
    for (int n = 1; n < NSIG; n++)
        sigaction(n, &dfl, NULL); /* EINVAL for KILL, STOP and those the C library keeps */
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

static void child_main(struct ctx *c)
{
    c->in_child = true;
    c->child = 0;
    reset_signals();
    set_slot(c, SLOT_SYNC, c->sync_child);
    run_steps(c, SIDE_CHILD);
    _exit(125); /* a plan that works ends in exec */
}

int op_clone(struct ctx *c, struct cell *a)
{
    int sync[2], pidfd = -1;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sync))
        return fail(c, "socketpair", "");
    struct clone_args args = {.flags = a[CLONE_FLAGS].u | CLONE_PIDFD, .pidfd = (uintptr_t)&pidfd};
    if (!(args.flags & CLONE_PARENT))
        args.exit_signal = SIGCHLD;
    if (a[CLONE_CGROUP].u != SLOT_NONE) {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = (unsigned)get_slot(c, a[CLONE_CGROUP].u);
    }
    c->sync_child = sync[1];
    memset(c->shared, 0, sizeof(*c->shared));
    pid_t pid = (pid_t)syscall(SYS_clone3, &args, sizeof args);
    if (pid == 0) {
        close(sync[0]);
        child_main(c);
    }
    close(sync[1]);
    if (pid < 0) {
        close(sync[0]);
        return fail(c, "clone3", "");
    }
    if (c->pidfd >= 0)
        close(c->pidfd);
    c->pidfd = pidfd;
    c->child = pid;
    return set_slot(c, SLOT_SYNC, sync[0]);
}

int op_wait(struct ctx *c, struct cell *a)
{
    (void)a;
    char byte;
    ssize_t n;
    do
        n = read(c->slot[SLOT_SYNC], &byte, 1);
    while (n < 0 && errno == EINTR);
    if (n == 1)
        return 0;
    if (n == 0 && c->in_child) /* the monitor has reported what went wrong */
        _exit(125);
    return n < 0 ? fail(c, "read", "sync socket") : refuse(c, EPIPE, "read", "sync socket");
}

int op_wake(struct ctx *c, struct cell *a)
{
    (void)a;
    return write(c->slot[SLOT_SYNC], "", 1) == 1 ? 0 : fail(c, "write", "sync socket");
}

/* A sibling goes on with the plan, in the pid namespace of setns(2); this process, which was never in it, ends. */
int op_enter(struct ctx *c, struct cell *a)
{
    struct clone_args args = {.flags = CLONE_PARENT};
    pid_t pid = (pid_t)syscall(SYS_clone3, &args, sizeof args);
    if (pid < 0)
        return fail(c, "clone3", "joined pid namespace");
    if (pid == 0)
        return 0;
    c->shared->entered = pid;
    _exit(op_wake(c, a) ? 125 : 0);
}

int op_adopt(struct ctx *c, struct cell *a)
{
    if (op_wait(c, a))
        return -1;
    report(c, REPORT_ENTERED); /* whoever is the parent has this one to reap */
    int pidfd = (int)syscall(SYS_pidfd_open, c->shared->entered, 0);
    if (pidfd < 0)
        return fail(c, "pidfd_open", "");
    close(c->pidfd);
    c->pidfd = pidfd;
    c->child = c->shared->entered;
    return 0;
}

int op_ready(struct ctx *c, struct cell *a)
{
    (void)a;
    report(c, REPORT_READY);
    return 0;
}

/* Run the plan once. On failure no child is left; with CLONE_PARENT the caller reaps it. */
int launch(struct ctx *c)
{
    c->child = 0;
    if (run_steps(c, SIDE_MONITOR) == 0)
        return 0;
    if (c->child > 0) {
        syscall(SYS_pidfd_send_signal, c->pidfd, SIGKILL, NULL, 0);
        waitpid(c->child, NULL, 0); /* ECHILD with CLONE_PARENT */
        c->child = 0;
    }
    return -1;
}
