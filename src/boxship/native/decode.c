/* SPDX-License-Identifier: Apache-2.0 */
/* Reading a plan: every bound is checked here, once; see plan/wire.py for the layout. */
#include <errno.h>
#include <string.h>
#include "boxmon.h"

static const char *const signatures[OP_COUNT] = PLAN_SIGNATURES;

static int bad(void)
{
    errno = EBADMSG;
    return -1;
}

/* A string of `len` bytes at `at`: inside the step, ended by a NUL; text holds no other. */
static char *text_at(struct step *st, uint64_t at, uint32_t len, bool text)
{
    if (at >= st->size || len >= st->size - at)
        return NULL;
    char *s = (char *)st + at;
    if (s[len] != '\0' || (text && memchr(s, 0, len)))
        return NULL;
    return s;
}

static int load_list(struct step *st, struct cell *cell)
{
    uint64_t at = cell->u, bytes = ((uint64_t)cell->len + 1) * 8;
    if (at % 8 || at >= st->size || bytes > st->size - at)
        return bad();
    uint64_t *entry = (uint64_t *)((char *)st + at);
    for (uint32_t i = 0; i < cell->len; i++) {
        uint64_t off = entry[i];
        if (off >= st->size || !memchr((char *)st + off, 0, st->size - off))
            return bad();
        entry[i] = (uint64_t)(uintptr_t)((char *)st + off);
    }
    if (entry[cell->len] != 0)
        return bad();
    cell->a = (char **)entry;
    return 0;
}

static int load_cell(struct step *st, struct cell *cell, char kind, size_t first)
{
    if (cell->kind != (uint32_t)kind)
        return bad();
    if (kind == 'u')
        return 0;
    if (cell->u < first)
        return bad();
    if (kind == 'a')
        return load_list(st, cell);
    cell->s = text_at(st, cell->u, cell->len, kind == 's');
    return cell->s ? 0 : bad();
}

static int load_step(struct step *st)
{
    if (st->code >= OP_COUNT || !signatures[st->code] || st->side > SIDE_CHILD)
        return bad();
    const char *kinds = signatures[st->code];
    size_t n = strlen(kinds), first = sizeof(*st) + n * sizeof(struct cell);
    if (st->size < first)
        return bad();
    for (size_t i = 0; i < n; i++)
        if (load_cell(st, &st->arg[i], kinds[i], first))
            return -1;
    return 0;
}

static int load_slots(struct plan *p, char *blob, size_t size)
{
    if (p->head->slots > MAX_SLOTS || p->head->slots * 8 > size - sizeof(*p->head))
        return bad();
    p->pairs = (int32_t(*)[2])(void *)(blob + sizeof(*p->head));
    for (uint32_t i = 0; i < p->head->slots; i++)
        if (p->pairs[i][0] < 0 || p->pairs[i][0] >= SLOT_NONE)
            return bad();
    return 0;
}

/* Check `size` bytes at `blob` (8-byte aligned, writable) and point `out` into them. */
int plan_load(char *blob, size_t size, struct plan *out)
{
    struct plan_header *head = (struct plan_header *)(void *)blob;
    if (size < sizeof(*head) || size > MAX_PLAN || head->magic != PLAN_MAGIC || head->size != size)
        return bad();
    if (head->count > MAX_STEPS)
        return bad();
    out->head = head;
    out->count = head->count;
    if (load_slots(out, blob, size))
        return -1;
    size_t at = sizeof(*head) + head->slots * sizeof(*out->pairs);
    for (uint32_t i = 0; i < head->count; i++) {
        struct step *st = (struct step *)(void *)(blob + at);
        if (size - at < sizeof(*st) || st->size % 8 || st->size < sizeof(*st) || st->size > size - at)
            return bad();
        if (load_step(st))
            return -1;
        out->step[i] = st;
        at += st->size;
    }
    return at == size ? 0 : bad();
}
