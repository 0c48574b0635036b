/* Ctrl-C: counted here, looked at wherever something waits. */
#include <signal.h>

#include "daemon/cli/cli.h"

static volatile sig_atomic_t interrupts;

static void on_interrupt(int signal_number)
{
    (void)signal_number;
    interrupts = interrupts + 1;
}

void cli_interrupt_setup(void)
{
    const struct sigaction action = {.sa_handler = on_interrupt}; /* no SA_RESTART: waits end */
    (void)sigaction(SIGINT, &action, NULL);
    (void)signal(SIGPIPE, SIG_IGN);
}

unsigned cli_interrupts(void)
{
    return (unsigned)interrupts;
}
