/* The writers of generate.c: each writes one whole document to standard output. */
#ifndef HEAPMARK_DOCS_GENERATE_GENERATE_H
#define HEAPMARK_DOCS_GENERATE_GENERATE_H

void generate_man_command(void);
void generate_man_config(void);
void generate_config_page(void);
void generate_bash(void);
void generate_zsh(void);

#endif
