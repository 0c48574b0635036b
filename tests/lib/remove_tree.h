/* Removes a test's own directory with everything in it. */
#ifndef HEAPMARK_TESTS_LIB_REMOVE_TREE_H
#define HEAPMARK_TESTS_LIB_REMOVE_TREE_H

#include <ftw.h>
#include <stdio.h>

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)st;
    (void)flag;
    (void)ftw;
    return remove(path);
}

static int remove_tree(const char *path)
{
    return nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

#endif
