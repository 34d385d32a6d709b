/* The options of `pintensor run`: those of the table, in lower case, checked before anything is started. */
#ifndef PT_CLI_ARGUMENTS_H
#define PT_CLI_ARGUMENTS_H

enum pt_arguments_want { PT_ARGUMENTS_RUN, PT_ARGUMENTS_HELP, PT_ARGUMENTS_VERSION, PT_ARGUMENTS_WRONG };

/* Sets the variables that argv asks for, argv[0] being no option. *program: the first word that is none. WRONG was said
 * on stderr. */
enum pt_arguments_want pt_arguments_take(int argc, char **argv, char ***program);

/* An option's name as it is typed, without the dashes. */
struct pt_arguments_name {
    char text[32];
};
struct pt_arguments_name pt_arguments_name(unsigned option);

#endif
