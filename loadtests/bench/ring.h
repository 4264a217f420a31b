/* What the load client sends and what must come back: frames and answers of a few dozen different messages, which
 * are built and masked once. Each connection goes round from a place of its own, so an answer in the wrong order,
 * or of another connection, is a mismatch. */
#ifndef RING_H
#define RING_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { CONTINUATION = 0, TEXT = 1, BINARY = 2, CLOSE = 8, PING = 9, PONG = 10 };

enum { DEFLATE_BITS = 12 }; /* the window of what is compressed here */

/* What a message is, and what a server makes of it. */
struct message_kind {
    size_t size; /* of the payload that the server's handler sees */
    bool text, upper, raw, deflate, socketio;
};

/* Message `index` lies from starts[index] to starts[index + 1]. */
struct ring {
    uint64_t count;
    unsigned char *frames, *answers;
    uint64_t *frame_starts, *answer_starts;
};

void build_ring(struct ring *ring, struct message_kind kind);

/* Writes a frame with the FIN bit and `reserved` bits, masked; returns its size. */
size_t put_frame(unsigned char *out, unsigned opcode, unsigned reserved, const unsigned char *data, size_t size);

/* Gets the pieces of an inflated message. */
typedef void taker(void *context, const unsigned char *data, size_t size);

struct inflater;

/* Inflates a piece of a compressed message; `inflater` is NULL before a connection's first, and is kept. */
void inflate_piece(struct inflater **inflater, const unsigned char *data, size_t size, taker *take, void *context);

/* The message has come in whole. */
void inflate_end(struct inflater **inflater, taker *take, void *context);

void free_inflater(struct inflater *inflater);

/* Says on stderr what was wrong, and leaves. */
void fail(const char *format, ...) __attribute__((noreturn, format(printf, 1, 2)));

#endif
