/* SPDX-License-Identifier: Apache-2.0 */
/* boxmon: launcher and monitor of one container. Purpose and order: docs/start-order.md, docs/monitor.md.
 *
 * Rules of this directory: nothing is allocated once a process has been cloned; every offset of a plan is
 * checked in decode.c and nowhere else; a function that fails returns -1, leaves errno, and says in
 * ctx.call and ctx.path which call it was. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include "plan.h"

struct cell {
    union {
        uint64_t u;
        char *s;
        char **a;
    };
    uint32_t len;
    uint32_t kind;
};

struct step {
    uint32_t size;
    uint16_t code;
    uint8_t side;
    uint8_t optional;
    struct cell arg[];
};

struct plan {
    struct plan_header *head;
    int32_t (*pairs)[2];
    uint32_t count;
    struct step *step[MAX_STEPS];
};

/* What the child tells the monitor without a system call. */
struct shared {
    uint32_t failed; /* the child could not finish its steps */
    int32_t entered; /* the process that Enter has made */
    uint32_t step;
    int32_t err;
    char text[MAX_REPORT]; /* call, NUL, path, NUL, detail */
};

struct report {
    uint32_t kind, step;
    int32_t err;
    uint32_t pid, len;
};

struct ctx {
    struct plan *plan;
    struct shared *shared;
    uint64_t *trace;
    int slot[MAX_SLOTS];
    int report;
    int sync_child; /* the child's end of the sync socket */
    int pidfd;
    pid_t child;
    bool in_child;
    bool on_top;   /* the container's root lies on top of / */
    bool launched; /* the plan has been run once: a restart must not report */
    uint32_t at;   /* the step under way */
    const char *call;
    const char *path;
    size_t detail_len;
    char detail[256];
    char program[4096]; /* what Lookup found */
};

/* decode.c */
int plan_load(char *blob, size_t size, struct plan *out);

/* launch.c */
int run_steps(struct ctx *c, uint8_t side);
int launch(struct ctx *c);
void report(struct ctx *c, uint32_t kind);
int fail(struct ctx *c, const char *call, const char *path);
int refuse(struct ctx *c, int err, const char *call, const char *path);
int finish(int fd, int rc);
int set_slot(struct ctx *c, uint64_t slot, int fd);
int get_slot(const struct ctx *c, uint64_t slot);
void reset_signals(void);

/* root.c: paths below the container's root */
int root_open(struct ctx *c, const char *path, uint64_t flags, uint64_t resolve);
int root_make(struct ctx *c, const char *path, bool directory, uint64_t resolve, mode_t mode);
int root_parent(struct ctx *c, const char *path, char name[256], uint64_t resolve);

/* sockets.c */
int send_fd(int socket, int fd, const void *data, size_t len);
int receive_fd(int socket);
int rtnetlink(struct ctx *c, char *messages, size_t len);

/* the operations, one a step */
typedef int op(struct ctx *c, struct cell *a);
op op_open, op_open_in, op_pipe, op_close, op_dup, op_write, op_write_slot, op_write_proc;
op op_setns, op_clone, op_enter, op_adopt, op_wait, op_wake, op_ready;
op op_open_tree, op_fs_mount, op_set_attr, op_idmap, op_root, op_attach, op_copy_up, op_mask, op_read_only;
op op_ch_dir, op_mk_dir, op_mk_nod, op_sym_link, op_pivot;
op op_call, op_set_caps, op_bound, op_console, op_seccomp, op_notify, op_netlink, op_run;
op op_lookup, op_barrier, op_init, op_exec, op_take_pty, op_supervise;
