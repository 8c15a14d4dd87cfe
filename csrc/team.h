#ifndef DROPKIT_TEAM_H
#define DROPKIT_TEAM_H

#include "threads.h"

/* As dk_parallel_for, on the threads of the OpenMP team that dk_team_set named, if it did. */
void dk_team_for(size_t n, size_t chunk, int threads, dk_task_fn *task, void *job);

/* Whether there is such a team. */
int dk_team_is_set(void);

#endif
