#include "ring.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#ifdef DEFLATE
#include <zlib.h>
#endif

enum { RING_BYTES = 4 << 20, RING_MESSAGES = 61, HEADER = 14 };
enum { RESERVED_DEFLATE = 0x40, LEVEL = 6 };
static const char EVENT[] = "42[\"message\",\"", EVENT_END[] = "\"]"; /* around a payload for Socket.IO */

void fail(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    fputs("client: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    exit(1);
}

static void *room(size_t size) {
    void *memory = malloc(size);
    if (!memory) fail("no memory");
    return memory;
}

/* ---- frames ---- */

static size_t put_header(unsigned char *out, unsigned first, uint64_t size) {
    size_t length = size < 126 ? 2 : size < 65536 ? 4 : 10;
    out[0] = (unsigned char)(0x80 | first);
    out[1] = (unsigned char)(0x80 | (length == 2 ? size : length == 4 ? 126 : 127));
    for (size_t index = length - 1; index > 1; index--, size >>= 8) out[index] = (unsigned char)size;
    return length;
}

size_t put_frame(unsigned char *out, unsigned opcode, unsigned reserved, const unsigned char *data, size_t size) {
    size_t length = put_header(out, reserved | opcode, size);
    for (size_t index = 0; index < 4; index++) out[length + index] = (unsigned char)rand();
    for (size_t index = 0; index < size; index++)
        out[length + 4 + index] = data[index] ^ out[length + (index & 3)];
    return length + 4 + size;
}

/* ---- payloads ---- */

/* Lines of JSON, as a chat might send them, cut to the size. */
static void put_json(unsigned char *out, size_t size) {
    static const char *const words[] = {"the",  "quick", "brown", "fox",     "jumps",   "over",  "a",     "lazy",
                                        "dog",  "user",  "topic", "channel", "message", "order", "price", "status"};
    char line[512];
    while (size) {
        int length = snprintf(line, sizeof line, "{\"type\": \"message\", \"id\": %d, \"ts\": 17%08d, \"text\": \"",
                              rand() % 1000000000, rand() % 100000000);
        for (int left = 3 + rand() % 12; left; left--)
            length += snprintf(line + length, sizeof line - (size_t)length, "%s ", words[rand() % 16]);
        length += snprintf(line + length, sizeof line - (size_t)length, "\"}\n");
        size_t part = (size_t)length < size ? (size_t)length : size;
        memcpy(out, line, part);
        out += part;
        size -= part;
    }
}

static void put_payload(unsigned char *out, struct message_kind kind) {
    if (kind.deflate) put_json(out, kind.size);
    else
        for (size_t index = 0; index < kind.size; index++)
            out[index] = (unsigned char)(kind.text ? 'a' + rand() % 26 : rand());
    if (kind.socketio) {
        memcpy(out, EVENT, strlen(EVENT));
        memcpy(out + kind.size - strlen(EVENT_END), EVENT_END, strlen(EVENT_END));
    }
}

#ifdef DEFLATE

static size_t most_deflated(size_t size) { return compressBound(size) + 16; }

/* Compresses without reference to other messages, so that each may follow each; leaves out the end, 00 00 ff ff. */
static size_t put_deflated(unsigned char *out, const unsigned char *data, size_t size) {
    z_stream stream = {0};
    if (deflateInit2(&stream, LEVEL, Z_DEFLATED, -DEFLATE_BITS, 8, Z_DEFAULT_STRATEGY) != Z_OK) fail("no memory");
    stream.next_in = (unsigned char *)data;
    stream.avail_in = (unsigned)size;
    stream.next_out = out;
    stream.avail_out = (unsigned)most_deflated(size);
    if (deflate(&stream, Z_SYNC_FLUSH) != Z_OK || stream.avail_in || !stream.avail_out) fail("deflate");
    size = stream.total_out - 4;
    deflateEnd(&stream);
    return size;
}

struct inflater {
    z_stream stream;
};

void inflate_piece(struct inflater **inflater, const unsigned char *data, size_t size, taker *take, void *context) {
    static unsigned char out[1 << 16];
    if (!*inflater) {
        *inflater = calloc(1, sizeof **inflater);
        if (!*inflater || inflateInit2(&(*inflater)->stream, -15) != Z_OK) fail("no memory");
    }
    z_stream *stream = &(*inflater)->stream;
    stream->next_in = (unsigned char *)data;
    stream->avail_in = (unsigned)size;
    do {
        stream->next_out = out;
        stream->avail_out = sizeof out;
        int result = inflate(stream, Z_SYNC_FLUSH);
        if (result != Z_OK && result != Z_BUF_ERROR) fail("an answer cannot be inflated: %d", result);
        take(context, out, sizeof out - stream->avail_out);
    } while (!stream->avail_out || stream->avail_in);
}

void inflate_end(struct inflater **inflater, taker *take, void *context) {
    static const unsigned char end[] = {0, 0, 0xff, 0xff};
    inflate_piece(inflater, end, sizeof end, take, context);
}

void free_inflater(struct inflater *inflater) {
    if (inflater) inflateEnd(&inflater->stream);
    free(inflater);
}

#else

static size_t most_deflated(size_t size) { return size; }

static size_t put_deflated(unsigned char *out, const unsigned char *data, size_t size) {
    (void)out, (void)data, (void)size;
    fail("this client was compiled without zlib");
}

void inflate_piece(struct inflater **inflater, const unsigned char *data, size_t size, taker *take, void *context) {
    (void)inflater, (void)data, (void)size, (void)take, (void)context;
    fail("a compressed answer, which was not offered");
}

void inflate_end(struct inflater **inflater, taker *take, void *context) {
    (void)inflater, (void)take, (void)context;
}

void free_inflater(struct inflater *inflater) { (void)inflater; }

#endif

/* ---- the ring ---- */

void build_ring(struct ring *ring, struct message_kind kind) {
    if (kind.socketio) kind.size += strlen(EVENT) + strlen(EVENT_END);
    uint64_t count = RING_BYTES / kind.size;
    count = count > RING_MESSAGES ? RING_MESSAGES : count < 3 ? 3 : count;
    unsigned opcode = kind.text ? TEXT : BINARY;
    size_t most = kind.deflate ? most_deflated(kind.size) : kind.size;
    unsigned char *payload = room(kind.size), *packed = room(most);
    *ring = (struct ring){.count = count, .frames = room(count * (HEADER + most))};
    ring->frame_starts = calloc(count + 1, sizeof *ring->frame_starts);
    ring->answer_starts = kind.raw ? ring->frame_starts : calloc(count + 1, sizeof *ring->answer_starts);
    ring->answers = kind.raw ? ring->frames : room(count * kind.size);
    if (!ring->frame_starts || !ring->answer_starts) fail("no memory");
    for (uint64_t index = 0; index < count; index++) {
        unsigned char *frame = ring->frames + ring->frame_starts[index];
        put_payload(payload, kind);
        size_t size = kind.deflate ? put_deflated(packed, payload, kind.size) : kind.size;
        size = put_frame(frame, opcode, kind.deflate ? RESERVED_DEFLATE : 0, kind.deflate ? packed : payload, size);
        ring->frame_starts[index + 1] = ring->frame_starts[index] + size;
        if (kind.raw) continue;
        ring->answer_starts[index + 1] = ring->answer_starts[index] + kind.size;
        for (size_t at = 0; at < kind.size; at++)
            ring->answers[ring->answer_starts[index] + at] =
                kind.upper ? (unsigned char)toupper(payload[at]) : payload[at];
    }
    free(payload);
    free(packed);
}
