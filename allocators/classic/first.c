/* First fit: of all free blocks that are large enough, the one with the lowest address. */
#include "allocators/classic/policy.h"

#include "allocators/classic/by_address.h"

POLICY_NAMED("first fit");

static struct block *root; /* heap lock */

void policy_insert(struct block *b)
{
    root = treap_insert(root, b);
}

void policy_remove(struct block *b)
{
    root = treap_remove(root, b);
}

struct block *policy_find(size_t size)
{
    return find_lowest(root, size);
}

void policy_allocated(const struct block *b)
{
    (void)b;
}

long policy_check(void)
{
    return treap_check(root, NULL, NULL);
}
