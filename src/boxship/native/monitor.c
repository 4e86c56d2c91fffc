/* SPDX-License-Identifier: Apache-2.0 */
/* The life of a monitor: one loop over events, the exit record, restarts. It sleeps in poll(2) and wakes for nothing
 * but an event. What it writes and serves is described in docs/monitor.md. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "monitor.h"

enum { BACKOFF_FIRST_MS = 100, BACKOFF_MOST_MS = 60000, HEALTHY_MS = 10000 };
enum { P_SIGNAL, P_TIMER, P_LISTEN, P_STDIN, P_OUT, P_ERR, P_PTY, P_CLIENTS, P_COUNT = P_CLIENTS + MAX_CLIENTS };

static struct monitor self;

static uint64_t oom_kills(const struct monitor *m)
{
    char text[4096];
    int fd = open(m->a[SUPERVISE_OOM_FILE].s, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return 0;
    ssize_t n = read(fd, text, sizeof text - 1);
    close(fd);
    text[n > 0 ? n : 0] = '\0';
    const char *line = strstr(text, "oom_kill ");
    return line ? strtoull(line + 9, NULL, 10) : 0;
}

static void set_timer(const struct monitor *m, uint64_t ms)
{
    struct itimerspec at = {.it_value = {.tv_sec = (time_t)(ms / 1000), .tv_nsec = (long)(ms % 1000) * 1000000}};
    timerfd_settime(m->timer, 0, &at, NULL);
}

/* Whoever holds the lock of `monitor` is the container's monitor: the kernel names it (F_GETLK) while it lives. */
static int take_lock(struct monitor *m)
{
    struct flock whole = {.l_type = F_WRLCK};
    m->lock = openat(m->dir, "monitor", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    return m->lock < 0 ? -1 : fcntl(m->lock, F_SETLK, &whole);
}

static void write_pids(struct monitor *m)
{
    char text[64];
    int n = snprintf(text, sizeof text, "%d %d\n", getpid(), m->c->child);
    write_file(m->dir, "pid", text, (size_t)n);
}

static void detach_from_caller(void)
{
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    setsid();
    for (int fd = 0; fd < 3; fd++)
        dup2(null, fd);
    close(null);
}

static int begin(struct monitor *m)
{
    sigset_t mine;
    for (int n = 0; n < MAX_CLIENTS; n++)
        m->client[n].fd = -1;
    m->dir = open(m->a[SUPERVISE_DIRECTORY].s, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (m->dir < 0)
        return fail(m->c, "open", m->a[SUPERVISE_DIRECTORY].s);
    if (take_lock(m))
        return fail(m->c, "fcntl", "monitor");
    write_pids(m);
    log_open(m);
    if ((m->listener = attach_listen(m)) < 0)
        return fail(m->c, "bind", "attach");
    sigemptyset(&mine);
    for (const int *n = (const int[]){SIGCHLD, SIGTERM, SIGINT, SIGHUP, 0}; *n; n++)
        sigaddset(&mine, *n);
    sigprocmask(SIG_BLOCK, &mine, NULL);
    m->signals = signalfd(-1, &mine, SFD_CLOEXEC | SFD_NONBLOCK);
    m->timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    if (m->signals < 0 || m->timer < 0)
        return fail(m->c, "signalfd", "");
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    detach_from_caller();
    close(m->c->report); /* end of file now means that exec worked, or that the child is gone */
    m->c->report = -1;
    m->c->launched = true;
    return 0;
}

/* Read one stream once; false at its end. The log has what is read, also when there is nobody to send it to. */
static bool pump(struct monitor *m, uint64_t slot, uint32_t kind)
{
    ssize_t n = read(m->c->slot[slot], m->out.data, CHUNK);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return true;
    if (n <= 0) { /* EIO: the last terminal end has been closed */
        set_slot(m->c, slot, -1);
        return false;
    }
    log_write(m, (unsigned char)kind, m->out.data, (size_t)n);
    attach_output(m, kind, (size_t)n);
    return true;
}

static void handle_signal(struct monitor *m)
{
    struct signalfd_siginfo info;
    while (read(m->signals, &info, sizeof info) == sizeof info)
        if (info.ssi_signo == SIGTERM) {
            m->stopping = true;
            syscall(SYS_pidfd_send_signal, m->c->pidfd, (int)m->a[SUPERVISE_STOP_SIGNAL].u, NULL, 0);
        }
}

/* Until the primary client takes more; a request to stop lets it go, for it may never. */
static void wait_client(struct monitor *m, const struct client *cl)
{
    struct pollfd p[2] = {{.fd = cl->fd, .events = POLLOUT}, {.fd = m->signals, .events = POLLIN}};
    poll(p, 2, m->stopping ? 0 : -1);
    handle_signal(m);
    if (m->stopping && !p[0].revents)
        attach_let_go(m);
    else
        attach_flush(m);
}

/* The program has ended: what is in the pipes belongs to it still. Others who hold them open are not waited for. */
static void drain(struct monitor *m)
{
    static const struct {
        uint64_t slot;
        uint32_t kind;
    } from[] = {{SLOT_STDOUT_MONITOR, FRAME_STDOUT}, {SLOT_STDERR_MONITOR, FRAME_STDERR}, {SLOT_PTY, FRAME_STDOUT}};
    for (size_t i = 0; i < 3; i++)
        for (;;) {
            const struct client *cl = attach_primary(m);
            if (m->out_len && cl) {
                wait_client(m, cl);
                continue;
            }
            struct pollfd in = {.fd = m->c->slot[from[i].slot], .events = POLLIN};
            if (in.fd < 0 || poll(&in, 1, 0) <= 0 || !pump(m, from[i].slot, from[i].kind))
                break;
        }
}

static void prepare_poll(struct monitor *m, struct pollfd *p)
{
    if (!attach_primary(m))
        m->out_len = m->out_at = 0; /* what it had not taken, it does not want */
    bool room = m->out_len == 0;
    p[P_SIGNAL] = (struct pollfd){.fd = m->signals, .events = POLLIN};
    p[P_TIMER] = (struct pollfd){.fd = m->timer, .events = POLLIN};
    p[P_LISTEN] = (struct pollfd){.fd = m->listener, .events = POLLIN};
    p[P_STDIN] = (struct pollfd){.fd = m->in_len ? stdin_fd(m) : -1, .events = POLLOUT};
    p[P_OUT] = (struct pollfd){.fd = room ? m->c->slot[SLOT_STDOUT_MONITOR] : -1, .events = POLLIN};
    p[P_ERR] = (struct pollfd){.fd = room ? m->c->slot[SLOT_STDERR_MONITOR] : -1, .events = POLLIN};
    p[P_PTY] = (struct pollfd){.fd = room ? m->c->slot[SLOT_PTY] : -1, .events = POLLIN};
    for (int n = 0; n < MAX_CLIENTS; n++) {
        const struct client *cl = &m->client[n];
        short events = (short)((m->in_len ? 0 : POLLIN) | (cl->primary && !room ? POLLOUT : 0));
        p[P_CLIENTS + n] = (struct pollfd){.fd = events ? cl->fd : -1, .events = events}; /* POLLHUP comes unasked */
    }
}

static void handle(struct monitor *m, const struct pollfd *p)
{
    uint64_t ticks;
    if (p[P_SIGNAL].revents)
        handle_signal(m);
    if (p[P_TIMER].revents && read(m->timer, &ticks, sizeof ticks) > 0) {
        m->timed_out = true;
        syscall(SYS_pidfd_send_signal, m->c->pidfd, SIGKILL, NULL, 0);
    }
    if (p[P_LISTEN].revents)
        attach_accept(m);
    if (p[P_STDIN].revents)
        stdin_flush(m);
    for (int n = 0; n < MAX_CLIENTS; n++) {
        struct client *cl = &m->client[n];
        if (cl->fd >= 0 && p[P_CLIENTS + n].fd == cl->fd) {
            if (p[P_CLIENTS + n].revents & POLLOUT)
                attach_flush(m);
            if (cl->fd >= 0 && p[P_CLIENTS + n].revents & (POLLIN | POLLHUP | POLLERR) && !m->in_len)
                attach_read(m, cl);
        }
    }
    if (p[P_OUT].revents && !m->out_len)
        pump(m, SLOT_STDOUT_MONITOR, FRAME_STDOUT);
    if (p[P_ERR].revents && !m->out_len)
        pump(m, SLOT_STDERR_MONITOR, FRAME_STDERR);
    if (p[P_PTY].revents && !m->out_len)
        pump(m, SLOT_PTY, FRAME_STDOUT);
}

/* Until the container's first process has ended; orphans that come to the subreaper are reaped on the way. */
static int watch(struct monitor *m, struct rusage *usage)
{
    struct pollfd p[P_COUNT];
    for (;;) {
        int status;
        struct rusage used;
        for (pid_t pid; (pid = wait4(-1, &status, WNOHANG, &used)) > 0;)
            if (pid == m->c->child) {
                *usage = used;
                return status;
            }
        prepare_poll(m, p);
        if (poll(p, P_COUNT, -1) > 0)
            handle(m, p);
    }
}

/* A path that the container chose must not add lines to the record. */
static char *printable(char *text)
{
    for (char *at = text; *at; at++)
        if ((unsigned char)*at < ' ' || *at == 127)
            *at = '?';
    return text;
}

static void record(struct monitor *m, int status, const struct rusage *u)
{
    char text[2048];
    struct shared *s = m->c->shared;
    int n = snprintf(text, sizeof text,
                     "pid=%d\ncode=%d\nsignal=%d\ncore=%d\noom=%d\ntimeout=%d\nstopped=%d\nstarted_ns=%llu\nfinished_ns=%llu\n"
                     "utime_us=%llu\nstime_us=%llu\nmaxrss_kib=%ld\nrestarts=%llu\n",
                     m->c->child, WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status),
                     WIFSIGNALED(status) ? WTERMSIG(status) : 0, WIFSIGNALED(status) && WCOREDUMP(status),
                     oom_kills(m) > m->oom_before, m->timed_out, m->stopping, (unsigned long long)m->started_ns,
                     (unsigned long long)now_ns(CLOCK_REALTIME),
                     (unsigned long long)u->ru_utime.tv_sec * 1000000 + (unsigned long long)u->ru_utime.tv_usec,
                     (unsigned long long)u->ru_stime.tv_sec * 1000000 + (unsigned long long)u->ru_stime.tv_usec, u->ru_maxrss,
                     (unsigned long long)m->restarts);
    if (s->failed) /* the text is the call, a NUL, and the path */
        n += snprintf(text + n, sizeof text - (size_t)n, "error_step=%u\nerror_errno=%d\nerror_call=%.60s\nerror_path=%.900s", s->step,
                      s->err, s->text, printable(s->text + strlen(s->text) + 1));
    write_file(m->dir, "exit", text, (size_t)n < sizeof text ? (size_t)n : sizeof text - 1);
}

/* One run of the container; returns its wait status. */
static int run_once(struct monitor *m)
{
    struct rusage usage = {0};
    m->started_ns = now_ns(CLOCK_REALTIME);
    m->oom_before = oom_kills(m);
    m->timed_out = m->in_close = false;
    m->in_len = m->in_at = m->out_len = m->out_at = 0;
    for (const int *slot = (const int[]){SLOT_STDIN_MONITOR, SLOT_STDOUT_MONITOR, SLOT_STDERR_MONITOR, SLOT_PTY, 0}; *slot; slot++)
        if (m->c->slot[*slot] >= 0)
            fcntl(m->c->slot[*slot], F_SETFL, O_NONBLOCK);
    write_pids(m);
    set_timer(m, m->a[SUPERVISE_TIMEOUT_MS].u);
    int status = watch(m, &usage);
    set_timer(m, 0);
    record(m, status, &usage);
    drain(m);
    return status;
}

static bool wants_restart(const struct monitor *m, int status)
{
    uint64_t policy = m->a[SUPERVISE_RESTART].u, most = m->a[SUPERVISE_RESTART_MAX].u;
    if (m->stopping || policy == RESTART_NO || (most && m->restarts >= most))
        return false;
    return policy == RESTART_ALWAYS || status != 0;
}

/* Sleep until the next try; a stop request ends it. */
static void back_off(struct monitor *m, uint64_t ms)
{
    uint64_t ticks;
    set_timer(m, ms);
    for (;;) {
        struct pollfd p[2] = {{.fd = m->signals, .events = POLLIN}, {.fd = m->timer, .events = POLLIN}};
        poll(p, 2, -1);
        handle_signal(m);
        if (m->stopping || read(m->timer, &ticks, sizeof ticks) > 0)
            return;
    }
}

static int finish_monitor(struct monitor *m, int status)
{
    attach_end(m, WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status), WIFSIGNALED(status) ? WTERMSIG(status) : 0);
    for (struct client *cl; (cl = attach_primary(m)) && m->out_len;)
        wait_client(m, cl);
    unlinkat(m->dir, "attach", 0);
    unlinkat(m->dir, "pid", 0);
    char **after = m->a[SUPERVISE_AFTER].a;
    bool began = m->restarts || !m->c->shared->failed; /* what never ran is its caller's to clean up, who waits for us */
    if (after[0] && began) {
        reset_signals();
        execve(after[0], after, (char *[]){NULL});
    }
    _exit(WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
}

int op_supervise(struct ctx *c, struct cell *a)
{
    struct monitor *m = &self;
    uint64_t wait_ms = BACKOFF_FIRST_MS;
    if (c->launched) /* a restart runs the plan again: this loop is already on the stack */
        return 0;
    m->c = c;
    m->a = a;
    if (begin(m))
        return -1;
    for (;;) {
        int status = run_once(m);
        if (!wants_restart(m, status))
            return finish_monitor(m, status);
        if (now_ns(CLOCK_REALTIME) - m->started_ns > HEALTHY_MS * 1000000ull)
            wait_ms = BACKOFF_FIRST_MS;
        do {
            back_off(m, wait_ms);
            wait_ms = wait_ms * 2 > BACKOFF_MOST_MS ? BACKOFF_MOST_MS : wait_ms * 2;
            m->restarts++;
            if (m->stopping)
                return finish_monitor(m, status);
        } while (launch(c) && wants_restart(m, 1));
        if (c->child <= 0) { /* the last try came to nothing */
            struct rusage none = {0};
            record(m, 125 << 8, &none);
            return finish_monitor(m, 125 << 8);
        }
    }
}
