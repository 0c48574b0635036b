/* heapmark-nothing: the program fork-latency spawns. It ends at once; linked statically, so that
 * what is measured is spawn and exec and not the dynamic linker. */
int main(void)
{
    return 0;
}
