/* TLS for the load client, by OpenSSL: between a socket, which is the caller's, and what is sent and received by it. */
#ifndef TLS_H
#define TLS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct tls;

/* Once, before any connection: the only version that is offered, "1.2" or "1.3", and whether sessions are kept. */
void tls_prepare(const char *version, bool resumes);

/* Begins a handshake on a connected socket. With `resume` it offers a session that was kept; that there is none, or that
 * the server does not resume it, is a mistake. */
struct tls *tls_begin(int fd, bool resume);

/* Whether the handshake is done: only then is there anything to send. */
bool tls_is_open(const struct tls *self);

/* Returns how many bytes were taken, which go out now or by tls_flush; 0 while earlier ones wait. */
size_t tls_send(struct tls *self, const void *data, size_t size);

/* Sends what waits, as far as the socket takes it; tells whether all of it is out. */
bool tls_flush(struct tls *self);

/* Receives at most once, and goes on with the handshake. As recv does, returns 0 at the end of the stream, and -1 with
 * EAGAIN where nothing has come for the caller. `size` is at least TLS_LEAST. */
enum { TLS_SPARE = 17 << 10, TLS_LEAST = 64 << 10 };
ssize_t tls_receive(struct tls *self, void *data, size_t size);

/* The same with what has come already: `count` bytes of `data`, where what is returned takes their place. That may be
 * more by the beginning of a record before them: `size` has room for TLS_SPARE more. */
ssize_t tls_take(struct tls *self, void *data, size_t count, size_t size);

/* Writes what a connection begins with; returns how many bytes that is. */
size_t tls_hello(void *data, size_t size);

/* Whether the server has said that it sends no more. */
bool tls_ended(const struct tls *self);

/* Says that nothing more is sent. */
void tls_shutdown(struct tls *self);

/* The same where it was not said and the server still listens; then there is no connection any more. */
void tls_free(struct tls *self);

#endif
