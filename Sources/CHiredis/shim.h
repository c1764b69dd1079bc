#ifndef FLOWHUB_CHIREDIS_SHIM_H
#define FLOWHUB_CHIREDIS_SHIM_H

#include <hiredis/hiredis.h>
#include <stdint.h>
#include <stdlib.h>

/* The reader and the formatter, alike for 0.14 and 1.x.
 *
 * Neither version bounds what a server may make the reader build: 0.14 takes any number of elements, 1.x before 1.4.1 any
 * depth, and frees it by recursion. So arrays are created by a function that rejects both. */

#define FLOWHUB_MAX_DEPTH 8
#define FLOWHUB_MAX_ELEMENTS 1048576

#if HIREDIS_MAJOR >= 1
typedef size_t flowhub_count;
#else
typedef int flowhub_count;
#endif

/* The reader's own functions, with one of them replaced. */
typedef struct {
    redisReplyObjectFunctions functions;
    void *(*array)(const redisReadTask *, flowhub_count);
} flowhub_bounds;

static inline void *flowhub_bounded_array(const redisReadTask *task, flowhub_count elements) {
    int depth = 0;
    for (const redisReadTask *outer = task->parent; outer; outer = outer->parent) depth++;
    if (depth >= FLOWHUB_MAX_DEPTH || (unsigned long long)elements > FLOWHUB_MAX_ELEMENTS) return NULL;
    return ((flowhub_bounds *)task->privdata)->array(task, elements);
}

/* NULL without memory. */
static inline redisReader *flowhub_reader_create(void) {
    redisReader *reader = redisReaderCreate();
    flowhub_bounds *bounds = (flowhub_bounds *)malloc(sizeof(flowhub_bounds));
    if (!reader || !bounds) {
        if (reader) redisReaderFree(reader);
        free(bounds);
        return NULL;
    }
    bounds->functions = *reader->fn;
    bounds->array = bounds->functions.createArray;
    bounds->functions.createArray = flowhub_bounded_array;
    reader->fn = &bounds->functions;
    reader->privdata = bounds;
    /* 0 keeps the buffer. With the default, the reader frees it after every larger reply. */
    reader->maxbuf = 0;
    return reader;
}

static inline void flowhub_reader_free(redisReader *reader) {
    void *bounds = reader->privdata;
    redisReaderFree(reader);
    free(bounds);
}

/* Bytes that were fed and belong to no finished reply yet. */
static inline size_t flowhub_reader_pending(const redisReader *reader) { return reader->len - reader->pos; }

/* Bytes of the command, which flowhub_free_command takes; negative without memory. */
static inline int64_t flowhub_format(char **target, int count, const char **arguments, const size_t *lengths) {
    return redisFormatCommandArgv(target, count, arguments, lengths);
}

static inline void flowhub_free_command(char *command) { redisFreeCommand(command); }

static inline void flowhub_free_reply(void *reply) { freeReplyObject(reply); }

#endif
