/* SPDX-License-Identifier: Apache-2.0 */
/* Clients of a running container, on the socket `attach` of its directory; the frames are in plan/wire.py.
 *
 * The primary client, which the container was started with, loses nothing: while it does not take what it gets,
 * the container is not read. Any other client that cannot take a chunk at once is let go; the log has it all. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <termios.h>
#include <unistd.h>
#include "monitor.h"

int attach_listen(struct monitor *m)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    snprintf(at.sun_path, sizeof at.sun_path, "/proc/self/fd/%d/attach", m->dir); /* the directory's own path may be long */
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -1;
    unlinkat(m->dir, "attach", 0);
    mode_t old = umask(0177);
    int rc = bind(fd, (struct sockaddr *)&at, sizeof at) || listen(fd, 16) ? -1 : 0;
    umask(old);
    return rc ? finish(fd, -1) : fd;
}

static void add_client(struct monitor *m, int fd, bool primary)
{
    for (struct client *cl = m->client; cl < m->client + MAX_CLIENTS; cl++)
        if (cl->fd < 0) {
            *cl = (struct client){.fd = fd, .primary = primary};
            return;
        }
    close(fd); /* all places are taken */
}

void attach_accept(struct monitor *m)
{
    int fd = accept4(m->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd >= 0)
        add_client(m, fd, false);
}

static void drop(struct client *cl)
{
    close(cl->fd);
    cl->fd = -1;
}

struct client *attach_primary(struct monitor *m)
{
    int given = m->c->slot[SLOT_CLIENT];
    if (given >= 0) { /* the caller's end of a socket pair, passed with the plan */
        m->c->slot[SLOT_CLIENT] = -1;
        fcntl(given, F_SETFL, O_NONBLOCK);
        add_client(m, given, true);
    }
    for (struct client *cl = m->client; cl < m->client + MAX_CLIENTS; cl++)
        if (cl->fd >= 0 && cl->primary)
            return cl;
    return NULL;
}

void attach_let_go(struct monitor *m)
{
    drop(attach_primary(m));
    m->out_len = m->out_at = 0;
}

void attach_flush(struct monitor *m)
{
    struct client *cl = attach_primary(m);
    while (cl && m->out_at < m->out_len) {
        ssize_t n = send(cl->fd, (char *)&m->out + m->out_at, m->out_len - m->out_at, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        if (n < 0) {
            drop(cl);
            break;
        }
        m->out_at += (size_t)n;
    }
    m->out_len = m->out_at = 0;
}

/* Send m->out.data, `len` bytes, to everybody. */
void attach_output(struct monitor *m, uint32_t kind, size_t len)
{
    m->out.head = (struct frame){kind, (uint32_t)len};
    m->out_len = sizeof m->out.head + len;
    m->out_at = 0;
    for (struct client *cl = m->client; cl < m->client + MAX_CLIENTS; cl++)
        if (cl->fd >= 0 && !cl->primary &&
            send(cl->fd, &m->out, m->out_len, MSG_NOSIGNAL | MSG_DONTWAIT) != (ssize_t)m->out_len)
            drop(cl);
    attach_flush(m);
}

void attach_end(struct monitor *m, int32_t code, int32_t number)
{
    int32_t said[2] = {code, number};
    memcpy(m->out.data, said, sizeof said);
    attach_output(m, FRAME_EXIT, sizeof said);
}

int stdin_fd(const struct monitor *m)
{
    return m->c->slot[SLOT_PTY] >= 0 ? m->c->slot[SLOT_PTY] : m->c->slot[SLOT_STDIN_MONITOR];
}

void stdin_flush(struct monitor *m)
{
    int fd = stdin_fd(m);
    while (fd >= 0 && m->in_at < m->in_len) {
        ssize_t n = write(fd, m->in + m->in_at, m->in_len - m->in_at);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        if (n < 0)
            break; /* nobody reads any more */
        m->in_at += (size_t)n;
    }
    m->in_len = m->in_at = 0;
    if (m->in_close)
        set_slot(m->c, SLOT_STDIN_MONITOR, -1);
}

static void act(struct monitor *m, const struct client *cl)
{
    uint32_t number;
    struct winsize size = {0};
    memcpy(&number, cl->body, sizeof number);
    if (cl->in.kind == FRAME_CLOSE) {
        m->in_close = true;
        stdin_flush(m);
    } else if (cl->in.kind == FRAME_SIGNAL && number > 0 && number < NSIG) {
        syscall(SYS_pidfd_send_signal, m->c->pidfd, number, NULL, 0);
    } else if (cl->in.kind == FRAME_RESIZE && m->c->slot[SLOT_PTY] >= 0) {
        memcpy(&size.ws_row, cl->body, 2);
        memcpy(&size.ws_col, cl->body + 2, 2);
        ioctl(m->c->slot[SLOT_PTY], TIOCSWINSZ, &size);
    }
}

static bool sane(const struct frame *f)
{
    if (f->kind == FRAME_STDIN)
        return f->len <= MAX_FRAME;
    if (f->kind == FRAME_CLOSE)
        return f->len == 0;
    return (f->kind == FRAME_RESIZE || f->kind == FRAME_SIGNAL) && f->len == 4;
}

/* One read a call: the head, then the body, of which standard input is passed on as it comes. */
void attach_read(struct monitor *m, struct client *cl)
{
    bool head = cl->got < sizeof cl->in, input = cl->in.kind == FRAME_STDIN;
    char *to = head ? (char *)&cl->in + cl->got : input ? m->in : (char *)cl->body + cl->in.len - cl->left;
    size_t want = head ? sizeof cl->in - cl->got : input && cl->left > STDIN_CHUNK ? STDIN_CHUNK : cl->left;
    ssize_t n = recv(cl->fd, to, want, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) { /* detached: the container is none of its business any more */
        drop(cl);
        return;
    }
    if (head) {
        cl->got += (uint32_t)n;
        if (cl->got < sizeof cl->in)
            return;
        if (!sane(&cl->in)) {
            drop(cl);
            return;
        }
        cl->left = cl->in.len;
    } else {
        cl->left -= (uint32_t)n;
        if (input) {
            m->in_len = (size_t)n;
            m->in_at = 0;
            stdin_flush(m);
        }
    }
    if (cl->left)
        return;
    cl->got = 0;
    if (cl->in.kind != FRAME_STDIN)
        act(m, cl);
}
