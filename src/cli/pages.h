/* What people read of the command: --help and the man page, from the tables of options, verbs, statuses and words. */
#ifndef PT_CLI_PAGES_H
#define PT_CLI_PAGES_H

/* To stdout. Both return an exit status. */
int pt_pages_help(void);
int pt_pages_man(void);

#endif
