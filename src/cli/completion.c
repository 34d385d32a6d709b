#include "cli/completion.h"

#include "base/options.h"
#include "cli/arguments.h"
#include "cli/report_options.h"

#include <stdio.h>
#include <string.h>

/* One script for both shells: zsh runs bash's completions once bashcompinit was called. ${1} and not $1, so that the
 * script of a word with a '=' in it reads alike in both. */
static void print_words(const char *list)
{
    for (; *list != '\0'; list++) {
        putchar(*list == ',' ? ' ' : *list);
    }
}

static void print_options(void)
{
    for (unsigned o = 0; o < PT_OPTION_COUNT; o++) {
        printf(" --%s=", pt_arguments_name(o).text);
    }
}

static void print_values(void)
{
    for (unsigned o = 0; o < PT_OPTION_COUNT; o++) {
        const struct pt_option_row *row = pt_option_row(o);
        if (row->kind == PT_KIND_CHOICE || row->kind == PT_KIND_SET) {
            printf("    --%s) echo '", pt_arguments_name(o).text);
            print_words(row->values);
            puts("';;");
        }
    }
}

int pt_completion(bool zsh)
{
    puts(zsh ? "#compdef pintensor\nautoload -U +X bashcompinit && bashcompinit" : "# bash completion for pintensor");
    fputs("# Made by `pintensor completion`, from the tables that the command itself goes by.\n"
          "_pintensor_verbs='",
          stdout);
#define X(name, arguments, help) fputs(#name " ", stdout);
#include "cli/verbs.def"
#undef X
    fputs("--help --version'\n_pintensor_options='--help --version", stdout);
    print_options();
    fputs("'\n_pintensor_report='--help", stdout);
    for (unsigned i = 0; i < PT_REPORT_OPTIONS; i++) {
        printf(" --%s%.1s", pt_report_options[i].name, pt_report_options[i].value);
    }
    puts("'\n_pintensor_values() {\n  case $1 in");
    print_values();
    puts(
        "  esac\n}\n"
        "_pintensor_complete() {\n"
        "  local word=${COMP_WORDS[COMP_CWORD]} verb=${COMP_WORDS[1]} before=${COMP_WORDS[COMP_CWORD-1]} i at\n"
        "  COMPREPLY=()\n"
        "  if [[ $COMP_CWORD == 1 ]]; then\n"
        "    COMPREPLY=($(compgen -W \"$_pintensor_verbs\" -- \"$word\"))\n"
        "    return\n"
        "  fi\n"
        "  if [[ $verb == completion ]]; then\n"
        "    COMPREPLY=($(compgen -W 'bash zsh' -- \"$word\"))\n"
        "    return\n"
        "  fi\n"
        "  if [[ $verb == report ]]; then\n"
        "    if [[ $word == -* ]]; then COMPREPLY=($(compgen -W \"$_pintensor_report\" -- \"$word\")); fi\n"
        "    return\n"
        "  fi\n"
        "  [[ $verb == run ]] || return\n"
        "  # A '=' is a word of its own to bash, and part of one to zsh.\n"
        "  for ((i = 2, at = 2; i < COMP_CWORD; i++)); do\n"
        "    case ${COMP_WORDS[i]} in\n"
        "    --) at=$((i + 1)); break;;\n"
        "    --*=*) ;;\n"
        "    --*) if [[ ${COMP_WORDS[i+1]} == = ]]; then ((i++)); fi; ((i++));;\n"
        "    *) break;;\n"
        "    esac\n"
        "    at=$((i + 1))\n"
        "  done\n"
        "  if [[ $before == = || $word == = ]]; then\n"
        "    [[ $word != = ]] || { before=$word word=; ((COMP_CWORD++)); }\n"
        "    before=${COMP_WORDS[COMP_CWORD-2]}\n"
        "  fi\n"
        "  if [[ $word == --*=* ]]; then\n"
        "    COMPREPLY=($(compgen -W \"$(_pintensor_values \"${word%%=*}\")\" -P \"${word%%=*}=\" -- \"${word#*=}\"))\n"
        "  elif [[ $before == --?* && -n $(_pintensor_values \"$before\") ]]; then\n"
        "    COMPREPLY=($(compgen -W \"$(_pintensor_values \"$before\")\" -- \"$word\"))\n"
        "  elif [[ $before == --report ]]; then\n"
        "    COMPREPLY=($(compgen -f -- \"$word\"))\n"
        "  elif [[ $word == -* && $COMP_CWORD -le $at ]]; then\n"
        "    COMPREPLY=($(compgen -W \"$_pintensor_options\" -- \"$word\"))\n"
        "    compopt -o nospace 2>/dev/null\n"
        "  elif [[ $COMP_CWORD -le $at ]]; then\n"
        "    COMPREPLY=($(compgen -c -- \"$word\"))\n"
        "  else\n"
        "    COMPREPLY=($(compgen -f -- \"$word\"))\n"
        "  fi\n"
        "}\n"
        "complete -o default -F _pintensor_complete pintensor");
    if (zsh) {
        puts("_bash_complete -o default -F _pintensor_complete");
    }
    return fflush(stdout) != 0 || ferror(stdout);
}
