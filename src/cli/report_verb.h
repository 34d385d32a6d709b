/* The verb `report`: tables in, one of the ways to tell out. */
#ifndef PT_CLI_REPORT_VERB_H
#define PT_CLI_REPORT_VERB_H

/* argv[0] is the verb. Returns the command's exit status. */
int pt_report_verb(int argc, char **argv);

#endif
