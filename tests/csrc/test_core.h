#ifndef DROPKIT_TEST_CORE_H
#define DROPKIT_TEST_CORE_H

#include <stdio.h>

extern int failures;

#define CHECK(claim, ...)                                                                          \
    do {                                                                                           \
        if (!(claim)) {                                                                            \
            failures++;                                                                            \
            printf("%s:%d: not so: %s: ", __FILE__, __LINE__, #claim);                             \
            printf(__VA_ARGS__);                                                                   \
            printf("\n");                                                                          \
        }                                                                                          \
    } while (0)

void check_attention(void);
void check_attention_heads(void);
void check_threads(void);

#endif
