/* SPDX-License-Identifier: Apache-2.0 */
/* Run: hooks and newuidmap, in the namespaces of whichever side the step is on. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include "boxmon.h"

static void exec_program(struct cell *a, const char *pid, int in, int out)
{
    for (char **word = a[RUN_ARGV].a; *word; word++)
        if (strcmp(*word, "{pid}") == 0)
            *word = (char *)(uintptr_t)pid;
    reset_signals();
    if (dup2(in, 0) < 0 || dup2(out, 1) < 0 || dup2(out, 2) < 0)
        _exit(126);
    syscall(SYS_close_range, 3u, ~0u, 0u);
    execve(a[RUN_ARGV].a[0], a[RUN_ARGV].a + 1, a[RUN_ENV].a);
    dprintf(2, "%s: %s", a[RUN_ARGV].a[0], strerror(errno));
    _exit(127);
}

/* Wait for the program, at most `ms` (0: for ever); its exit status, or -1 with ETIMEDOUT. */
static int wait_program(pid_t pid, int pidfd, uint64_t ms)
{
    int status = 0, ready;
    struct pollfd end = {.fd = pidfd, .events = POLLIN};
    do
        ready = poll(&end, 1, ms ? (int)ms : -1);
    while (ready < 0 && errno == EINTR);
    if (ready == 0)
        kill(pid, SIGKILL);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    if (ready != 0)
        return status;
    errno = ETIMEDOUT;
    return -1;
}

static int memfd_with(const char *data, size_t len)
{
    int fd = memfd_create("stdin", MFD_CLOEXEC);
    if (fd >= 0 && (pwrite(fd, data, len, 0) != (ssize_t)len))
        return finish(fd, -1);
    return fd;
}

/* argv[0] of the step is the path, argv[1…] the program's own argv. */
int op_run(struct ctx *c, struct cell *a)
{
    char pid[16];
    int pidfd = -1, in, out;
    pid_t subject = c->in_child ? getpid() : c->child;
    snprintf(pid, sizeof pid, "%10d", subject);
    if (a[RUN_PID_AT].u && a[RUN_PID_AT].u + 10 <= a[RUN_STDIN].len)
        memcpy(a[RUN_STDIN].s + a[RUN_PID_AT].u, pid, 10);
    snprintf(pid, sizeof pid, "%d", subject);
    if (a[RUN_ARGV].len < 1 || (in = memfd_with(a[RUN_STDIN].s, a[RUN_STDIN].len)) < 0)
        return fail(c, "memfd_create", a[RUN_WHAT].s);
    if ((out = memfd_create("output", MFD_CLOEXEC)) < 0)
        return finish(in, fail(c, "memfd_create", a[RUN_WHAT].s));
    /* clone, not clone3: common seccomp profiles, which may be on by now, know no clone3. */
    pid_t child = (pid_t)syscall(SYS_clone, CLONE_PIDFD | SIGCHLD, 0, &pidfd, 0, 0);
    if (child == 0)
        exec_program(a, pid, in, out);
    int status = child < 0 ? -1 : wait_program(child, pidfd, a[RUN_TIMEOUT_MS].u);
    if (status > 0)
        errno = ECANCELED;
    int rc = status ? fail(c, a[RUN_WHAT].s, a[RUN_ARGV].a[0]) : 0;
    off_t size = rc ? lseek(out, 0, SEEK_END) : 0, most = (off_t)sizeof c->detail - 4;
    int err = rc ? errno : 0;
    if (rc) {
        memcpy(c->detail, &status, 4);
        ssize_t n = pread(out, c->detail + 4, (size_t)most, size > most ? size - most : 0);
        c->detail_len = 4 + (n > 0 ? (size_t)n : 0);
        errno = err;
    }
    return finish(pidfd, finish(in, finish(out, rc)));
}
