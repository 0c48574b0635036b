/* Prints the OpenAPI document as the program makes it: `openapi_text > schema/openapi.json`. */
#include <stdio.h>
#include <stdlib.h>

#include "daemon/api/api.h"

int main(void)
{
    char *text = api_openapi_text();
    if (!text)
        return 1;
    int r = puts(text);
    free(text);
    return r < 0;
}
