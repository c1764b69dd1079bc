#ifndef FLOWHUB_CCURL_SHIM_H
#define FLOWHUB_CCURL_SHIM_H

/* The checks are macros around the variadic functions; here every argument has its type already. */
#define CURL_DISABLE_TYPECHECK
#include <curl/curl.h>
#include <sys/prctl.h>

/* The setters and getters are variadic, which Swift cannot call. */

static inline CURLcode flowhub_curl_set_long(CURL *easy, CURLoption option, long value) {
    return curl_easy_setopt(easy, option, value);
}

static inline CURLcode flowhub_curl_set_offset(CURL *easy, CURLoption option, curl_off_t value) {
    return curl_easy_setopt(easy, option, value);
}

/* libcurl copies the text. NULL stands for the option's own "nothing". */
static inline CURLcode flowhub_curl_set_text(CURL *easy, CURLoption option, const char *value) {
    return curl_easy_setopt(easy, option, value);
}

static inline CURLcode flowhub_curl_set_list(CURL *easy, CURLoption option, struct curl_slist *value) {
    return curl_easy_setopt(easy, option, value);
}

/* One context for all callbacks of a handle, and for CURLINFO_PRIVATE. */
static inline CURLcode flowhub_curl_set_callbacks(
    CURL *easy, void *context, curl_write_callback header, curl_write_callback write, curl_read_callback read,
    curl_seek_callback seek) {
    CURLcode code = curl_easy_setopt(easy, CURLOPT_PRIVATE, context);
    if (!code) code = curl_easy_setopt(easy, CURLOPT_HEADERDATA, context);
    if (!code) code = curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, header);
    if (!code) code = curl_easy_setopt(easy, CURLOPT_WRITEDATA, context);
    if (!code) code = curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, write);
    if (!code) code = curl_easy_setopt(easy, CURLOPT_READDATA, context);
    if (!code) code = curl_easy_setopt(easy, CURLOPT_READFUNCTION, read);
    if (!code) code = curl_easy_setopt(easy, CURLOPT_SEEKDATA, context);
    if (!code) code = curl_easy_setopt(easy, CURLOPT_SEEKFUNCTION, seek);
    return code;
}

static inline CURLMcode flowhub_curl_multi_set_long(CURLM *multi, CURLMoption option, long value) {
    return curl_multi_setopt(multi, option, value);
}

/* The context of the handle that a message is about. */
static inline void *flowhub_curl_context(CURL *easy) {
    char *context = NULL;
    curl_easy_getinfo(easy, CURLINFO_PRIVATE, &context);
    return context;
}

/* At most 15 bytes; what debuggers and top show. */
static inline void flowhub_name_thread(const char *name) { prctl(PR_SET_NAME, name, 0, 0, 0); }

#endif
