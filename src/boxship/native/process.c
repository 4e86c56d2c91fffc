/* SPDX-License-Identifier: Apache-2.0 */
/* Steps on the process itself: system calls by name, terminal, seccomp, barrier, exec. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>
#include "boxmon.h"

static const long numbers[CALL_COUNT] = CALL_NUMBERS;
static const char *const names[CALL_COUNT] = CALL_NAMES;

int op_call(struct ctx *c, struct cell *a)
{
    if (a[CALL_WHICH].u >= CALL_COUNT)
        return refuse(c, ENOSYS, "call", "");
    uint64_t x[5] = {a[CALL_A].u, a[CALL_B].u, a[CALL_C].u, a[CALL_D].u, 0};
    const char *shown = "";
    if (a[CALL_AT].u < 4) {
        x[a[CALL_AT].u] = (uint64_t)(uintptr_t)a[CALL_DATA].s;
        shown = a[CALL_DATA].s;
    }
    if (!c->in_child && strcmp(names[a[CALL_WHICH].u], "prlimit64") == 0)
        x[0] = (uint64_t)c->child; /* raised for the child by the monitor, which may */
    if (syscall(numbers[a[CALL_WHICH].u], x[0], x[1], x[2], x[3], x[4]) < 0)
        return fail(c, names[a[CALL_WHICH].u], shown);
    return 0;
}

int op_bound(struct ctx *c, struct cell *a)
{
    for (uint64_t cap = 0; cap <= a[BOUND_LAST].u; cap++)
        if (!(a[BOUND_KEEP].u >> cap & 1) && prctl(PR_CAPBSET_DROP, cap, 0, 0, 0))
            return fail(c, "prctl", "PR_CAPBSET_DROP");
    return 0;
}

int op_set_caps(struct ctx *c, struct cell *a)
{
    return syscall(SYS_capset, a[SET_CAPS_HEAD].s, a[SET_CAPS_DATA].s) ? fail(c, "capset", "") : 0;
}

/* The slave is opened from the master (TIOCGPTPEER, Linux 4.13) and bound by its descriptor: no name in /dev,
 * which the container may have swapped, is trusted (CVE-2025-52565). */
static int mount_console(struct ctx *c, int slave)
{
    int tree = (int)syscall(SYS_open_tree, slave, "", 0x1000 | 1 | O_CLOEXEC); /* AT_EMPTY_PATH | OPEN_TREE_CLONE */
    if (tree < 0)
        return fail(c, "open_tree", "/dev/console");
    int fd = root_make(c, "/dev/console", false, 0, 0600);
    if (fd < 0)
        return finish(tree, -1);
    int rc = (int)syscall(SYS_move_mount, tree, "", fd, "", 0x4 | 0x40); /* both paths empty */
    return finish(fd, finish(tree, rc ? fail(c, "move_mount", "/dev/console") : 0));
}

int op_console(struct ctx *c, struct cell *a)
{
    struct winsize size = {.ws_row = (unsigned short)a[CONSOLE_ROWS].u, .ws_col = (unsigned short)a[CONSOLE_COLUMNS].u};
    int master = root_open(c, "/dev/pts/ptmx", O_RDWR, 0), unlock = 0;
    if (master < 0)
        return -1;
    if (ioctl(master, TIOCSPTLCK, &unlock))
        return finish(master, fail(c, "ioctl", "TIOCSPTLCK"));
    int slave = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (slave < 0)
        return finish(master, fail(c, "ioctl", "TIOCGPTPEER"));
    if (size.ws_row && ioctl(slave, TIOCSWINSZ, &size))
        return fail(c, "ioctl", "TIOCSWINSZ");
    if (fchown(slave, (uid_t)a[CONSOLE_UID].u, (gid_t)-1) && errno != EPERM && errno != EINVAL)
        return fail(c, "fchown", "/dev/console");
    if (a[CONSOLE_MOUNT].u && mount_console(c, slave))
        return -1;
    if (send_fd(get_slot(c, a[CONSOLE_SOCKET].u), master, "/dev/ptmx", 9))
        return fail(c, "sendmsg", "console socket");
    setsid(); /* EPERM when this is a session's leader already */
    if (ioctl(slave, TIOCSCTTY, 0))
        return fail(c, "ioctl", "TIOCSCTTY");
    for (int fd = 0; fd < 3; fd++)
        if (dup2(slave, fd) < 0)
            return fail(c, "dup2", "terminal");
    close(slave);
    return close(master);
}

int op_take_pty(struct ctx *c, struct cell *a)
{
    int fd = receive_fd(get_slot(c, a[TAKE_PTY_SOCKET].u));
    if (fd < 0) /* the child has reported why */
        return c->shared->failed ? 0 : fail(c, "recvmsg", "console socket");
    return set_slot(c, SLOT_PTY, fd);
}

int op_seccomp(struct ctx *c, struct cell *a)
{
    struct sock_fprog prog = {.len = (unsigned short)(a[SECCOMP_PROGRAM].len / sizeof(struct sock_filter)),
                              .filter = (struct sock_filter *)(void *)a[SECCOMP_PROGRAM].s};
    uint64_t flags = a[SECCOMP_FLAGS].u | (a[SECCOMP_NOTIFY].u ? SECCOMP_FILTER_FLAG_NEW_LISTENER : 0);
    long fd = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &prog);
    if (fd < 0)
        return fail(c, "seccomp", "SECCOMP_SET_MODE_FILTER");
    if (!a[SECCOMP_NOTIFY].u)
        return 0;
    int number = (int)fd;
    if (write(c->slot[SLOT_SYNC], &number, sizeof number) != sizeof number)
        return fail(c, "write", "sync socket");
    return finish((int)fd, op_wait(c, a));
}

int op_notify(struct ctx *c, struct cell *a)
{
    int number;
    if (read(c->slot[SLOT_SYNC], &number, sizeof number) != sizeof number)
        return c->shared->failed ? 0 : fail(c, "read", "sync socket");
    int fd = (int)syscall(SYS_pidfd_getfd, c->pidfd, number, 0);
    if (fd < 0)
        return fail(c, "pidfd_getfd", "seccomp listener");
    if (a[NOTIFY_PID_AT].u && a[NOTIFY_PID_AT].u + 10 <= a[NOTIFY_STATE].len) {
        char text[11];
        snprintf(text, sizeof text, "%10d", c->child);
        memcpy(a[NOTIFY_STATE].s + a[NOTIFY_PID_AT].u, text, 10);
    }
    int rc = send_fd(get_slot(c, a[NOTIFY_SOCKET].u), fd, a[NOTIFY_STATE].s, a[NOTIFY_STATE].len);
    return finish(fd, rc ? fail(c, "sendmsg", "seccomp listener socket") : op_wake(c, a));
}

int op_barrier(struct ctx *c, struct cell *a)
{
    char byte;
    ssize_t n;
    report(c, REPORT_CREATED);
    int status = fcntl(get_slot(c, a[BARRIER_STATUS].u), F_DUPFD_CLOEXEC, 3);
    close(c->report);
    c->report = status;
    do /* the fifo is open for writing here too: read blocks until `start` writes */
        n = read(get_slot(c, a[BARRIER_START].u), &byte, 1);
    while (n < 0 && errno == EINTR);
    return n == 1 ? 0 : fail(c, "read", "start fifo");
}

/* PID 1 that stays: passes signals to the program, reaps what is orphaned, ends as the program ends. */
int op_init(struct ctx *c, struct cell *a)
{
    (void)a;
    sigset_t all;
    siginfo_t info;
    int status;
    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, NULL);
    pid_t main_pid = (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
    if (main_pid < 0)
        return fail(c, "clone", "init");
    if (main_pid == 0) {
        setpgid(0, 0);
        tcsetpgrp(0, getpid()); /* ENOTTY without a terminal; SIGTTOU, blocked still, would stop us */
        reset_signals();
        return 0;
    }
    for (int fd = 0; fd < 3; fd++)
        close(fd);
    syscall(SYS_close_range, 3u, ~0u, 0u);
    for (;;) {
        int sig = sigwaitinfo(&all, &info);
        if (sig > 0 && sig != SIGCHLD)
            kill(main_pid, sig);
        for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) > 0;)
            if (pid == main_pid)
                _exit(WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status));
    }
}
