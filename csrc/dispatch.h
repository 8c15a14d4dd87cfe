#ifndef DROPKIT_DISPATCH_H
#define DROPKIT_DISPATCH_H

#include "kernel.h"

/* The instruction set in use; chosen on the first call. */
const struct dk_isa *dk_active(void);

#endif
