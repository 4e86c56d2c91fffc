/* SPDX-License-Identifier: Apache-2.0 */
/* Steps on descriptors: open, pipe, dup, write, setns. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "boxmon.h"

int op_open(struct ctx *c, struct cell *a)
{
    int fd = open(a[OPEN_PATH].s, (int)a[OPEN_FLAGS].u | O_CLOEXEC | O_NOCTTY);
    return fd < 0 ? fail(c, "open", a[OPEN_PATH].s) : set_slot(c, a[OPEN_SLOT].u, fd);
}

int op_open_in(struct ctx *c, struct cell *a)
{
    int fd = root_open(c, a[OPEN_IN_PATH].s, a[OPEN_IN_FLAGS].u, 0);
    return fd < 0 ? -1 : set_slot(c, a[OPEN_IN_SLOT].u, fd);
}

int op_pipe(struct ctx *c, struct cell *a)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC))
        return fail(c, "pipe2", "");
    if (set_slot(c, a[PIPE_READ].u, ends[0])) {
        close(ends[1]);
        return -1;
    }
    return set_slot(c, a[PIPE_WRITE].u, ends[1]);
}

int op_close(struct ctx *c, struct cell *a)
{
    return set_slot(c, a[CLOSE_SLOT].u, -1);
}

int op_dup(struct ctx *c, struct cell *a)
{
    int from = get_slot(c, a[DUP_SLOT].u), to = (int)a[DUP_FD].u;
    if (from == to) /* dup2 of a descriptor to itself would leave close-on-exec set */
        return fcntl(to, F_SETFD, 0) ? fail(c, "fcntl", "F_SETFD") : 0;
    return dup2(from, to) < 0 ? fail(c, "dup2", "") : 0;
}

static int write_all(struct ctx *c, int fd, const struct cell *data, const char *path)
{
    ssize_t n = write(fd, data->s, data->len); /* kernel files take a value in one write */
    if (n == (ssize_t)data->len)
        return 0;
    return n < 0 ? fail(c, "write", path) : refuse(c, EIO, "write", path);
}

static int write_at(struct ctx *c, int dir, const char *path, const struct cell *data, const char *shown)
{
    int fd = openat(dir, path, O_WRONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return fail(c, "open", shown);
    return finish(fd, write_all(c, fd, data, shown));
}

int op_write(struct ctx *c, struct cell *a)
{
    int dir = a[WRITE_SLOT].u == SLOT_NONE ? AT_FDCWD : get_slot(c, a[WRITE_SLOT].u);
    return write_at(c, dir, a[WRITE_PATH].s, &a[WRITE_DATA], a[WRITE_PATH].s);
}

int op_write_slot(struct ctx *c, struct cell *a)
{
    return write_all(c, get_slot(c, a[WRITE_SLOT_SLOT].u), &a[WRITE_SLOT_DATA], a[WRITE_SLOT_PATH].s);
}

int op_write_proc(struct ctx *c, struct cell *a)
{
    char path[64];
    snprintf(path, sizeof path, "%d/%s", c->child, a[WRITE_PROC_PATH].s);
    return write_at(c, c->slot[SLOT_HOST_PROC], path, &a[WRITE_PROC_DATA], a[WRITE_PROC_PATH].s);
}

int op_setns(struct ctx *c, struct cell *a)
{
    if (setns(get_slot(c, a[SETNS_SLOT].u), (int)a[SETNS_FLAGS].u))
        return fail(c, "setns", a[SETNS_PATH].s);
    return 0;
}
