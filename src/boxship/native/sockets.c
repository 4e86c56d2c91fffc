/* SPDX-License-Identifier: Apache-2.0 */
/* Descriptors over unix sockets, and rtnetlink. */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/netlink.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>
#include "boxmon.h"

union control {
    char buf[CMSG_SPACE(sizeof(int))];
    struct cmsghdr align;
};

int send_fd(int socket, int fd, const void *data, size_t len)
{
    union control control = {0};
    struct iovec iov = {.iov_base = (void *)(uintptr_t)data, .iov_len = len};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.buf, .msg_controllen = sizeof control.buf};
    struct cmsghdr *head = CMSG_FIRSTHDR(&msg);
    head->cmsg_level = SOL_SOCKET;
    head->cmsg_type = SCM_RIGHTS;
    head->cmsg_len = CMSG_LEN(sizeof fd);
    memcpy(CMSG_DATA(head), &fd, sizeof fd);
    return sendmsg(socket, &msg, MSG_NOSIGNAL) < 0 ? -1 : 0;
}

int receive_fd(int socket)
{
    union control control;
    char byte[64];
    struct iovec iov = {.iov_base = byte, .iov_len = sizeof byte};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.buf, .msg_controllen = sizeof control.buf};
    ssize_t n;
    do
        n = recvmsg(socket, &msg, MSG_CMSG_CLOEXEC);
    while (n < 0 && errno == EINTR);
    struct cmsghdr *head = n > 0 ? CMSG_FIRSTHDR(&msg) : NULL;
    if (!head || head->cmsg_type != SCM_RIGHTS || head->cmsg_len != CMSG_LEN(sizeof(int))) {
        errno = n < 0 ? errno : EPIPE;
        return -1;
    }
    int fd;
    memcpy(&fd, CMSG_DATA(head), sizeof fd);
    return fd;
}

/* Each message asks for an acknowledgement; the first error ends it. */
static int acknowledge(int fd)
{
    union {
        char buf[8192];
        struct nlmsghdr align;
    } in;
    ssize_t n = recv(fd, in.buf, sizeof in.buf, 0);
    if (n < 0)
        return -1;
    struct nlmsghdr *head = &in.align;
    if ((size_t)n < NLMSG_LENGTH(sizeof(struct nlmsgerr)) || head->nlmsg_type != NLMSG_ERROR) {
        errno = EPROTO;
        return -1;
    }
    struct nlmsgerr err;
    memcpy(&err, NLMSG_DATA(head), sizeof err);
    errno = -err.error;
    return err.error ? -1 : 0;
}

static int talk(int fd, char *messages, size_t len)
{
    for (size_t at = 0; at + sizeof(struct nlmsghdr) <= len;) {
        struct nlmsghdr head;
        memcpy(&head, messages + at, sizeof head);
        if (head.nlmsg_len < sizeof head || head.nlmsg_len > len - at) {
            errno = EBADMSG;
            return -1;
        }
        if (send(fd, messages + at, head.nlmsg_len, 0) < 0 || acknowledge(fd))
            return -1;
        at += NLMSG_ALIGN(head.nlmsg_len);
    }
    return 0;
}

int op_netlink(struct ctx *c, struct cell *a)
{
    uint64_t at = a[NETLINK_PID_AT].u;
    uint32_t pid = (uint32_t)c->child;
    if (at && at + sizeof pid <= a[NETLINK_MESSAGES].len)
        memcpy(a[NETLINK_MESSAGES].s + at, &pid, sizeof pid);
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
    if (fd < 0)
        return fail(c, "socket", "AF_NETLINK");
    int rc = talk(fd, a[NETLINK_MESSAGES].s, a[NETLINK_MESSAGES].len);
    return finish(fd, rc ? fail(c, "rtnetlink", a[NETLINK_WHAT].s) : 0);
}
