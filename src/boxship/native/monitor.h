/* SPDX-License-Identifier: Apache-2.0 */
/* What monitor.c, log.c and attach.c share. One monitor is one process: its state is one static record. */
#pragma once
#include "boxmon.h"

enum { CHUNK = 32 * 1024, MAX_CLIENTS = 16, STDIN_CHUNK = 4096, MAX_FRAME = 64 * 1024 };

struct frame {
    uint32_t kind, len;
};

struct client {
    int fd;
    bool primary;          /* the container waits for it; any other is dropped when it is slow */
    struct frame in;       /* the frame that is being read */
    uint32_t got;          /* bytes of its head */
    uint32_t left;         /* bytes of its body still to come */
    unsigned char body[8]; /* of a short frame */
};

struct monitor {
    struct ctx *c;
    struct cell *a;
    int dir, lock, log, listener, timer, signals;
    uint64_t log_at, lost;
    struct client client[MAX_CLIENTS];
    struct {
        struct frame head;
        char data[CHUNK];
    } out; /* the frame that the primary client has not taken yet, or the next one */
    size_t out_len, out_at;
    char in[STDIN_CHUNK]; /* for the container's standard input */
    size_t in_len, in_at;
    bool in_close, stopping, timed_out;
    uint64_t started_ns, restarts, oom_before;
};

/* log.c */
void log_open(struct monitor *m);
void log_write(struct monitor *m, unsigned char stream, const char *data, size_t len);
int write_file(int dir, const char *name, const char *text, size_t len);
uint64_t now_ns(int clock);

/* attach.c */
int attach_listen(struct monitor *m);
void attach_accept(struct monitor *m);
void attach_output(struct monitor *m, uint32_t kind, size_t len);
void attach_flush(struct monitor *m);
void attach_let_go(struct monitor *m);
void attach_read(struct monitor *m, struct client *cl);
void attach_end(struct monitor *m, int32_t code, int32_t number);
struct client *attach_primary(struct monitor *m);
int stdin_fd(const struct monitor *m);
void stdin_flush(struct monitor *m);
