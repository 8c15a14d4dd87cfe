#ifndef DROPKIT_PAGES_H
#define DROPKIT_PAGES_H

#include <stddef.h>

/* Tell the system that all of this memory will be written now. */
void dk_will_fill(void *memory, size_t bytes);

#endif
