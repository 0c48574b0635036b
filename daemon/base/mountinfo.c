#include "daemon/base/mountinfo.h"

#include <string.h>

/* Space, tab, newline and backslash are written as \ooo. */
static void octal_unescape(char *text)
{
    char *out = text;
    while (*text) {
        if (text[0] == '\\' && text[1] >= '0' && text[1] <= '3' && text[2] >= '0' &&
            text[2] <= '7' && text[3] >= '0' && text[3] <= '7') {
            *out++ = (char)((text[1] - '0') * 64 + (text[2] - '0') * 8 + (text[3] - '0'));
            text += 4;
        } else {
            *out++ = *text++;
        }
    }
    *out = '\0';
}

/* "ID PARENT DEV ROOT POINT OPTIONS … - TYPE SOURCE SUPEROPTIONS": how many stand at … varies. */
bool mountinfo_parse(char *line, struct mountinfo_line *ret)
{
    char *rest = strstr(line, " - ");
    if (!rest)
        return false;
    *rest = '\0';
    rest += 3;
    char *save, *fields[6];
    for (unsigned i = 0; i < 6; i++)
        if (!(fields[i] = strtok_r(i ? NULL : line, " ", &save)))
            return false;
    char *type = strtok_r(rest, " ", &save);
    char *source = strtok_r(NULL, " ", &save);
    char *super_options = strtok_r(NULL, " ", &save);
    if (!type || !source)
        return false;
    octal_unescape(fields[3]);
    octal_unescape(fields[4]);
    *ret = (struct mountinfo_line){
        .root = fields[3],
        .point = fields[4],
        .options = fields[5],
        .type = type,
        .source = source,
        .super_options = super_options ? super_options : source + strlen(source),
    };
    return true;
}
