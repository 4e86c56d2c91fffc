/* SPDX-License-Identifier: Apache-2.0 */
/* libFuzzer target: the plan decoder. Whatever the bytes are, it accepts or refuses; what it accepts is then walked over
 * as the interpreter would: every string to its end, every list to its NULL. */
#include <stdlib.h>
#include <string.h>
#include "../../src/boxship/native/boxmon.h"

static const char *const signatures[OP_COUNT] = PLAN_SIGNATURES;
volatile size_t seen;

static void walk(struct step *st)
{
    const char *kinds = signatures[st->code];
    for (size_t i = 0; kinds[i]; i++) {
        const struct cell *cell = &st->arg[i];
        if (kinds[i] == 's')
            seen += strlen(cell->s);
        else if (kinds[i] == 'b')
            for (uint32_t n = 0; n <= cell->len; n++)
                seen += (unsigned char)cell->s[n];
        else if (kinds[i] == 'a')
            for (char **word = cell->a; *word; word++)
                seen += strlen(*word);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct plan plan;
    char *copy = malloc(size ? size : 1);
    if (!copy)
        return 0;
    memcpy(copy, data, size);
    if (size >= sizeof(struct plan_header) && plan_load(copy, size, &plan) == 0)
        for (uint32_t i = 0; i < plan.count; i++)
            walk(plan.step[i]);
    free(copy);
    return 0;
}
