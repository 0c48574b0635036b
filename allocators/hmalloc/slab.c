#include "allocators/hmalloc/slab.h"

#include <string.h>

#include "allocators/hmalloc/fault.h"
#include "allocators/hmalloc/meta.h"
#include "allocators/hmalloc/options.h"
#include "allocators/hmalloc/os.h"
#include "allocators/hmalloc/sizes.h"

/* ---- lists: the first slab of a class is the one in use ---- */

static void list_add_first(struct heap *h, struct slab *s)
{
    struct slab **head = &h->partial[s->class_index];
    s->previous = NULL;
    s->next = *head;
    if (*head)
        (*head)->previous = s;
    *head = s;
    s->listed = true;
}

static void list_add_second(struct heap *h, struct slab *s)
{
    struct slab *first = h->partial[s->class_index];
    if (!first) {
        list_add_first(h, s);
        return;
    }
    s->previous = first;
    s->next = first->next;
    if (first->next)
        first->next->previous = s;
    first->next = s;
    s->listed = true;
}

static void list_remove(struct heap *h, struct slab *s)
{
    if (s->previous)
        s->previous->next = s->next;
    else
        h->partial[s->class_index] = s->next;
    if (s->next)
        s->next->previous = s->previous;
    s->listed = false;
}

/* ---- pages, birth and end ---- */

/* Bits of the pages that hold any of bytes [from, to) of a slab. */
static uint64_t pages_of(size_t from, size_t to)
{
    const unsigned shift = (unsigned)__builtin_ctzl(os_page_size());
    const unsigned first = (unsigned)(from >> shift), last = (unsigned)((to - 1) >> shift);
    return (~(uint64_t)0 >> (63 - (last - first))) << first;
}

static size_t page_bytes(uint64_t pages)
{
    return (size_t)__builtin_popcountl(pages) * os_page_size();
}

static unsigned bitmap_words(unsigned blocks)
{
    return (blocks + 63) / 64;
}

/* Hardened there is a second bitmap behind the first: blocks in the quarantine. */
static unsigned bitmap_words_all(unsigned blocks)
{
    return bitmap_words(blocks) * (options.hardened >= HARDEN_FILL ? 2 : 1);
}

static uint64_t *held_bits(const struct slab *s)
{
    return s->bitmap + bitmap_words(s->blocks);
}

static bool bitmap_new(struct slab *s)
{
    const unsigned words = bitmap_words_all(s->blocks);
    s->bitmap = words <= SLAB_INLINE_WORDS ? s->inline_bits : meta_alloc(words * sizeof(uint64_t));
    if (s->bitmap)
        memset(s->bitmap, 0, words * sizeof(uint64_t));
    return s->bitmap;
}

/* All blocks of a new slab are free ones: hardened, so that any of them may be the first; on a huge
 * page, because what was never used is resident too. */
static void slab_open(struct heap *h, struct slab *s)
{
    for (unsigned i = 0; i < s->blocks; i++)
        s->bitmap[i / 64] |= (uint64_t)1 << (i % 64);
    h->virgin_bytes -= (size_t)s->blocks * s->size;
    h->free_bytes += (size_t)s->blocks * s->size;
    s->virgin = s->free_count = s->blocks;
    s->purged = s->clean && !s->huge ? pages_of(0, s->units * UNIT_SIZE) : 0;
    h->purged_bytes += page_bytes(s->purged);
}

static struct slab *slab_new(struct heap *h, unsigned class)
{
    const uint32_t size = class_size(class);
    struct slab *s = chunk_take(class_units(class), UNIT_SLAB);
    if (!s)
        return NULL;
    s->heap = h;
    s->size = size;
    s->reciprocal = (uint32_t)((((uint64_t)1 << 32) + size - 1) / size);
    s->blocks = (uint16_t)(s->units * UNIT_SIZE / size);
    s->free_count = 0;
    s->virgin = 0;
    s->class_index = (uint16_t) class;
    s->purged = 0;
    if (!bitmap_new(s)) {
        chunk_give(s, !s->clean);
        return NULL;
    }
    tagmap_set_range(s->base, s->units, heap_tag(h, class));
    h->slab_bytes += s->units * UNIT_SIZE;
    h->block_bytes += (size_t)s->blocks * size;
    h->virgin_bytes += (size_t)s->blocks * size;
    h->class_slabs[class]++;
    list_add_first(h, s);
    if (s->huge)
        slab_open(h, s);
    return s;
}

static void slab_end(struct heap *h, struct slab *s)
{
    if (s->listed)
        list_remove(h, s);
    h->class_slabs[s->class_index]--;
    h->slab_bytes -= s->units * UNIT_SIZE;
    h->block_bytes -= (size_t)s->blocks * s->size;
    h->free_bytes -= (size_t)s->free_count * s->size;
    h->virgin_bytes -= (size_t)(s->blocks - s->virgin) * s->size;
    h->purged_bytes -= page_bytes(s->purged);
    if (s->bitmap != s->inline_bits)
        meta_free(s->bitmap, bitmap_words_all(s->blocks) * sizeof(uint64_t));
    chunk_give(s, s->virgin > 0 || !s->clean);
}

/* ---- giving pages back ---- */

/* A block leaves the slab: its pages will be written. True: it reads as zeros. */
static bool page_use(struct slab *s, unsigned block)
{
    const size_t from = (size_t)block * s->size;
    const uint64_t pages = pages_of(from, from + s->size);
    const bool zeroed = (s->purged & pages) == pages;
    s->heap->purged_bytes -= page_bytes(s->purged & pages);
    s->purged &= ~pages;
    return zeroed;
}

/* All blocks with a byte in [from, to) are free. */
static bool range_is_free(const struct slab *s, size_t from, size_t to)
{
    unsigned last = (unsigned)((to - 1) / s->size);
    for (unsigned i = (unsigned)(from / s->size); i <= last && i < s->virgin; i++)
        if (!(s->bitmap[i / 64] >> (i % 64) & 1))
            return false;
    return true;
}

/* Pages that may be resident and hold no block in use. */
static uint64_t pages_idle(const struct slab *s)
{
    const size_t page = os_page_size(), span = s->units * UNIT_SIZE;
    /* What no block ever lay on is resident only if the units were dirty when the slab began. */
    const size_t touched = s->clean ? ALIGN_UP((size_t)s->virgin * s->size, page) : span;
    uint64_t idle = 0;
    for (size_t at = 0; at < touched && at < span; at += page) {
        const uint64_t bit = (uint64_t)1 << (at / page);
        if (!(s->purged & bit) && range_is_free(s, at, at + page))
            idle |= bit;
    }
    return idle;
}

static size_t slab_purge_one(struct slab *s)
{
    const size_t page = os_page_size();
    uint64_t idle = pages_idle(s);
    size_t purged = 0;
    s->purged |= idle;
    s->heap->purged_bytes += page_bytes(idle);
    while (idle) {
        const unsigned at = (unsigned)__builtin_ctzl(idle);
        const uint64_t rest = ~(idle >> at);
        const unsigned count = rest ? (unsigned)__builtin_ctzl(rest) : 64;
        chunk_discard(s->base + at * page, count * page);
        purged += count * page;
        idle &= count == 64 ? 0 : ~((((uint64_t)1 << count) - 1) << at);
    }
    return purged;
}

/* Free, and as far as we know resident. */
static size_t unpurged(const struct heap *h)
{
    return h->free_bytes > h->purged_bytes ? h->free_bytes - h->purged_bytes : 0;
}

size_t slab_purge(struct heap *h)
{
    size_t purged = 0;
    for (unsigned class = 1; class < CLASS_COUNT; class ++) {
        struct slab *next;
        for (struct slab *s = h->partial[class]; s; s = next) {
            next = s->next;
            if (s->free_count == s->virgin)
                slab_end(h, s);
            else if ((size_t)(s->free_count + s->blocks - s->virgin) * s->size >= os_page_size())
                purged += slab_purge_one(s);
        }
    }
    h->purge_floor = unpurged(h);
    return purged;
}

bool slab_purge_due(struct heap *h)
{
    const size_t now = unpurged(h), out = h->block_bytes - h->free_bytes - h->virgin_bytes;
    if (now < h->purge_floor)
        h->purge_floor = now;
    size_t more = options.dirty_min / 2;
    more = more > out / 4 ? more : out / 4;
    more = more > h->purge_floor / 4 ? more : h->purge_floor / 4;
    return now > h->purge_floor + more;
}

/* ---- blocks out ---- */

/* Blocks that came back once. */
static unsigned take_bits(struct slab *s, void **out, unsigned want, bool *first_zeroed)
{
    unsigned left = want < s->free_count ? want : s->free_count, got = 0;
    for (unsigned w = 0; left > 0; w++) {
        uint64_t bits = s->bitmap[w];
        for (; bits && left > 0; bits &= bits - 1, left--) {
            const unsigned i = w * 64 + (unsigned)__builtin_ctzl(bits);
            bool zeroed = s->purged && page_use(s, i);
            if (got == 0)
                *first_zeroed = zeroed;
            *--out = s->base + (size_t)i * s->size;
            got++;
        }
        s->bitmap[w] = bits;
    }
    s->free_count = (uint16_t)(s->free_count - got);
    s->heap->free_bytes -= (size_t)got * s->size;
    return got;
}

/* Blocks that never were used: whole pages stay untouched behind them. */
static unsigned take_virgin(struct slab *s, void **out, unsigned want, bool *first_zeroed)
{
    const unsigned left = (unsigned)(s->blocks - s->virgin), got = want < left ? want : left;
    char *block = s->base + (size_t)s->virgin * s->size;
    for (unsigned i = 0; i < got; i++, block += s->size) {
        bool zeroed = s->purged ? page_use(s, s->virgin + i) : s->clean;
        if (i == 0)
            *first_zeroed = zeroed || s->clean;
        *--out = block;
    }
    s->virgin = (uint16_t)(s->virgin + got);
    s->heap->virgin_bytes -= (size_t)got * s->size;
    return got;
}

/* xorshift64 (Marsaglia, 2003), seeded by the kernel: an order that is hard to guess, no secret. */
static uint64_t random_next(struct heap *h)
{
    if (h->random == 0)
        h->random = os_random() | 1;
    h->random ^= h->random << 13;
    h->random ^= h->random >> 7;
    h->random ^= h->random << 17;
    return h->random;
}

/* Hardened: one block, somewhere in the slab. */
static unsigned take_random(struct heap *h, unsigned class, void **out, bool *ret_zeroed)
{
    struct slab *s = h->partial[class];
    if (!s) {
        s = slab_new(h, class);
        if (!s)
            return 0;
        if (s->virgin < s->blocks)
            slab_open(h, s);
    }
    unsigned i = (unsigned)((random_next(h) >> 32) * s->blocks >> 32), w = i / 64;
    uint64_t bits = s->bitmap[w] & ~(uint64_t)0 << (i % 64);
    while (bits == 0) {
        w = (w + 1) % bitmap_words(s->blocks);
        bits = s->bitmap[w];
    }
    i = w * 64 + (unsigned)__builtin_ctzl(bits);
    s->bitmap[w] &= ~((uint64_t)1 << (i % 64));
    h->free_bytes -= s->size;
    h->class_out[class]++;
    *ret_zeroed = s->purged && page_use(s, i);
    *out = s->base + (size_t)i * s->size;
    if (--s->free_count == 0)
        list_remove(h, s);
    return 1;
}

unsigned slab_take(struct heap *h, unsigned class, void **out, unsigned want, bool *ret_zeroed)
{
    unsigned got = 0;
    bool zeroed, ignored;
    if (UNLIKELY(options.hardened >= HARDEN_FILL))
        return take_random(h, class, out, ret_zeroed);
    while (got < want) {
        struct slab *s = h->partial[class];
        /* A new slab only for the first block; what is left of several is put together. */
        if (!s && (got > 0 || !(s = slab_new(h, class))))
            break;
        got += take_bits(s, out + want - got, want - got, got == 0 ? &zeroed : &ignored);
        if (got < want)
            got += take_virgin(s, out + want - got, want - got, got == 0 ? &zeroed : &ignored);
        if (s->free_count == 0 && s->virgin == s->blocks)
            list_remove(h, s);
    }
    h->class_out[class] += got;
    if (got > 0)
        *ret_zeroed = zeroed;
    if (got > 0 && got < want)
        memmove(out, out + want - got, got * sizeof out[0]);
    return got;
}

/* ---- blocks back ---- */

static void put_done(struct heap *h, struct slab *s, unsigned count)
{
    s->free_count = (uint16_t)(s->free_count + count);
    h->free_bytes += (size_t)count * s->size;
    h->class_out[s->class_index] -= count;
    if (!s->listed && count > 0)
        list_add_second(h, s);
    /* Even the one in use: magazines see to it that this is rare, and an empty slab of every class
     * is what would be left of a program that freed everything. */
    if (s->free_count == s->virgin)
        slab_end(h, s);
}

/* Something is wrong with this block: say what. */
static NOINLINE void put_fault(const struct slab *s, const void *block, uint32_t index)
{
    const uint32_t offset = (uint32_t)((const char *)block - s->base);
    const char *what = FAULT_FREE_ALREADY;
    if (index * s->size != offset)
        what = FAULT_INSIDE;
    else if (index >= s->virgin)
        what = FAULT_VIRGIN;
    fault("free", block, what);
}

/* How many blocks from blocks[0] on lie in slab `s`, one after the other in the list; their bits
 * are set. ret_set: those that were not faults. This loop is what freeing costs beyond the fast
 * path: no descriptor is looked up twice in a row, and a word of the bitmap stays in a register
 * while neighbours come back. */
static size_t put_row(struct slab *s, void *const *blocks, size_t count, unsigned *ret_set)
{
    const char *const base = s->base;
    const size_t span = s->units * UNIT_SIZE;
    const uint32_t reciprocal = s->reciprocal, size = s->size, virgin = s->virgin;
    uint64_t *word = s->bitmap, bits = *word;
    unsigned set = 0;
    size_t i = 0;
    for (; i < count; i++) {
        const size_t offset = (size_t)((const char *)blocks[i] - base);
        if (offset >= span)
            break;
        const uint32_t index = (uint32_t)((offset * reciprocal) >> 32);
        const uint64_t bit = (uint64_t)1 << (index % 64);
        if (UNLIKELY(index * size != offset || index >= virgin)) {
            put_fault(s, blocks[i], index);
            continue;
        }
        if (word != &s->bitmap[index / 64]) {
            *word = bits;
            word = &s->bitmap[index / 64];
            bits = *word;
        }
        if (UNLIKELY(bits & bit)) {
            put_fault(s, blocks[i], index);
            continue;
        }
        bits |= bit;
        set++;
    }
    *word = bits;
    *ret_set = set;
    return i;
}

void slab_put(struct heap *h, void *const *blocks, size_t count)
{
    while (count > 0) {
        struct slab *s = slab_of(blocks[0]);
        unsigned set = 0;
        size_t row = 1;
        /* Its slab is gone: all blocks of it had come back already. */
        if (UNLIKELY(s->kind != UNIT_SLAB || s->heap != h)) {
            fault("free", blocks[0], FAULT_FREE_ALREADY);
        } else {
            row = put_row(s, blocks, count, &set);
            put_done(h, s, set);
        }
        blocks += row;
        count -= row;
    }
}

bool slab_is_start(const void *address)
{
    const struct slab *s = slab_of(address);
    const uint32_t offset = (uint32_t)((const char *)address - s->base);
    return (uint32_t)(((uint64_t)offset * s->reciprocal) >> 32) * s->size == offset;
}

/* ---- for harden.c ---- */

enum slab_block slab_state(const struct slab *s, const void *block)
{
    const uint32_t offset = (uint32_t)((const char *)block - s->base);
    const uint32_t i = (uint32_t)(((uint64_t)offset * s->reciprocal) >> 32);
    const uint64_t bit = (uint64_t)1 << (i % 64);
    if (i * s->size != offset || i >= s->blocks)
        return SLAB_BLOCK_INSIDE;
    if (i >= s->virgin)
        return SLAB_BLOCK_VIRGIN;
    if (s->bitmap[i / 64] & bit)
        return SLAB_BLOCK_FREE;
    return options.hardened >= HARDEN_FILL && (held_bits(s)[i / 64] & bit) ? SLAB_BLOCK_FREE
                                                                           : SLAB_BLOCK_USED;
}

void slab_hold(struct slab *s, const void *block, bool held)
{
    const unsigned i = (unsigned)((size_t)((const char *)block - s->base) / s->size);
    const uint64_t bit = (uint64_t)1 << (i % 64);
    if (held)
        held_bits(s)[i / 64] |= bit;
    else
        held_bits(s)[i / 64] &= ~bit;
}

/* ---- checking ---- */

static bool slab_check_one(const struct heap *h, const struct slab *s)
{
    unsigned free = 0, beyond = 0;
    for (unsigned w = 0; w < bitmap_words(s->blocks); w++)
        for (uint64_t bits = s->bitmap[w]; bits; bits &= bits - 1) {
            const unsigned i = w * 64 + (unsigned)__builtin_ctzl(bits);
            free++;
            beyond += i >= s->virgin;
        }
    return s->heap == h && s->kind == UNIT_SLAB && free == s->free_count && beyond == 0 &&
           s->virgin <= s->blocks && tagmap_get(s->base) == heap_tag(h, s->class_index);
}

bool slab_check(const struct heap *h)
{
    size_t free_bytes = 0;
    for (unsigned class = 1; class < CLASS_COUNT; class ++)
        for (const struct slab *s = h->partial[class]; s; s = s->next) {
            free_bytes += (size_t)s->free_count * s->size;
            if (!slab_check_one(h, s)) {
                fault_note("a slab's figures do not agree", s->base);
                return false;
            }
        }
    if (free_bytes == h->free_bytes)
        return true;
    fault_note("a heap's free bytes are not the sum of its slabs'", h);
    return false;
}
