#include "allocators/hmalloc/tagmap.h"

#include "allocators/hmalloc/lock.h"
#include "allocators/hmalloc/os.h"

/* Before tagmap_init: one entry, and it says "not ours". */
static tag_t nothing;
tag_t *tagmap_table = &nothing;
uintptr_t tagmap_mask;
static bool is_flat;

/* Not flat: which unit's number (never 0) each entry stands for. */
static uint32_t *claims;
static struct lock claims_lock;

bool tagmap_init(void)
{
    if (tagmap_table != &nothing)
        return true;
    /* Entries, as a power of two: the last ones cover 256, 16 and 4 GiB of addresses. */
    const unsigned tries[] = {os_address_bits() - UNIT_SHIFT, 22, 18, 16};
    for (unsigned i = 0; i < sizeof tries / sizeof tries[0]; i++) {
        const size_t entries = (size_t)1 << tries[i];
        const size_t claim_bytes = i == 0 ? 0 : entries * sizeof claims[0];
        const size_t bytes = entries * sizeof(tag_t) + claim_bytes;
        /* Where addresses are limited, the program's part is not to go for the table. */
        const bool is_last = i + 1 == sizeof tries / sizeof tries[0];
        char *table = !is_last && bytes > os_address_space_max() / 16 ? NULL : os_map(bytes, true);
        if (!table)
            continue;
        if (i > 0) {
            claims = (uint32_t *)(table + entries * sizeof(tag_t));
            /* NULL falls on the first entry, and free(NULL) must find it empty: nobody's. */
            claims[0] = UINT32_MAX;
        }
        tagmap_table = (tag_t *)table;
        tagmap_mask = entries - 1;
        is_flat = i == 0;
        return true;
    }
    return false;
}

static uint32_t unit_number(const void *address)
{
    return (uint32_t)((uintptr_t)address >> UNIT_SHIFT);
}

bool tagmap_claim(const void *address, size_t units)
{
    if (is_flat)
        return true;
    const uint32_t first = unit_number(address);
    bool fits = units <= tagmap_mask + 1;
    lock_take(&claims_lock);
    for (size_t i = 0; fits && i < units; i++)
        fits = claims[(first + i) & tagmap_mask] == 0;
    for (size_t i = 0; fits && i < units; i++)
        claims[(first + i) & tagmap_mask] = (uint32_t)(first + i);
    lock_leave(&claims_lock);
    return fits;
}

void tagmap_unclaim(const void *address, size_t units)
{
    if (is_flat)
        return;
    lock_take(&claims_lock);
    for (size_t i = 0; i < units; i++)
        claims[(unit_number(address) + i) & tagmap_mask] = 0;
    lock_leave(&claims_lock);
}

void tagmap_lock(void)
{
    lock_take(&claims_lock);
}

void tagmap_unlock(bool is_child)
{
    if (is_child)
        lock_reset(&claims_lock);
    else
        lock_leave(&claims_lock);
}

bool tagmap_owns(const void *address)
{
    const uintptr_t unit = (uintptr_t)address >> UNIT_SHIFT;
    if (is_flat)
        return unit <= tagmap_mask;
    return unit <= UINT32_MAX &&
           __atomic_load_n(&claims[unit & tagmap_mask], __ATOMIC_RELAXED) == (uint32_t)unit;
}

void tagmap_set_range(const void *address, size_t units, tag_t tag)
{
    const uintptr_t first = (uintptr_t)address >> UNIT_SHIFT;
    for (size_t i = 0; i < units; i++)
        __atomic_store_n(&tagmap_table[(first + i) & tagmap_mask], tag, __ATOMIC_RELAXED);
}
