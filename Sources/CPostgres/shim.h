#ifndef FLOWHUB_CPOSTGRES_SHIM_H
#define FLOWHUB_CPOSTGRES_SHIM_H

#include <libpq-fe.h>
#include <poll.h>
#include <sys/eventfd.h>

#endif
