/* The load client of the benchmark: one thread on epoll. Passing bytes to and from the kernel is nearly all
 * that it does, so it costs about what a bare TCP echo costs, and less than any WebSocket server.
 *
 * Rules. Every byte that comes back is compared with what was sent (ring.h). The first mistake, of a server or
 * of a socket, ends the program with a line on stderr that says what was wrong. Pings are answered whenever the
 * program reads. Where many messages are in flight it does not wait, but naps and looks again: a server that
 * writes to a client which waits has to wake it, and the kernel charges that to the server.
 *
 * Connects and says "ready"; for each line on stdin, a number of seconds, works that long and prints one
 * line of JSON; at the end of stdin closes every connection in order and leaves. In between everything rests,
 * and the caller reads /proc.
 *
 *   client PORT [--connections N] [--in-flight K] [--size BYTES] [--text] [--upper] [--raw] [--deflate]
 *               [--path PATH] [--socketio] [--tls VERSION] [--resume]
 *               [--handshakes | --in-turn | --never-read | --flood | --rest SECONDS | --room | --apart]
 *
 * --raw        the server is a bare TCP echo: the same frames, expected back as they went
 * --deflate    JSON text, compressed by permessage-deflate, to which the server must agree; needs zlib
 * --upper      text, expected back in capitals
 * --handshakes connect, upgrade, close, and again; no messages
 * --in-turn    one message on each connection, one connection after the other
 * --never-read sends and sends, and never reads
 * --flood      the first connection sends as much as its socket takes; only the others are counted
 * --rest       no messages: connects evenly over so many seconds, then counts the pings that it answers
 * --room       the connections are members of a room: the first one publishes, and each message has to reach all of them,
 *              once and in order; then it counts, with the time until the last member had it
 * --apart      likewise, and one connection more publishes, and is a member, too. It connects at a line "publisher" on
 *              stdin, again at each further one, and "ready" is said again; so the caller can have it elsewhere
 * --path       what the handshake asks for, by default /chat
 * --socketio   messages are Socket.IO's event "message"
 * --tls        all of it by TLS of that version, 1.2 or 1.3; needs OpenSSL
 * --resume     with --handshakes: each connection resumes a session of an earlier one
 */
#define _GNU_SOURCE
#include <errno.h>
#include <getopt.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "ring.h"
#include "tls.h"

enum { BUFFER = 1 << 20, HANDSHAKES_AT_ONCE = 16 };
enum { FLOOD_BYTES = 64 << 10 }; /* at once, so that the others have their turns here, too */
enum { WAIT_MS = 1000, GATHER_MS = 500 };
static const uint64_t PATIENCE_NS = UINT64_C(60000000000);
enum { NAP_NS = 20000, NAP_FROM = 64 }; /* with so many in flight no server runs out of work meanwhile */

/* The key of RFC 6455's example, and the answer that it must get; the offer is that of browsers. */
static const char REQUEST[] =
    "GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n%s\r\n";
static const char OFFER[] = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n";
static const char ACCEPT[] = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

struct connection {
    int fd;
    struct tls *tls;        /* NULL on plain TCP */
    enum { ABSENT, SHAKING, UPGRADING, JOINING, OPEN, CLOSING } state;
    bool wants_out;         /* registered for EPOLLOUT */
    bool floods;            /* its messages are compared, and not counted */
    bool joined;            /* it has received a message */
    uint64_t first;         /* the ring's message that this connection begins with */
    uint64_t sent, allowed; /* messages: written, and to be written */
    uint64_t part;          /* bytes of the next one's frame that are written */
    uint64_t received;      /* answers that came whole */
    uint64_t got;           /* bytes of the next one that came */
    uint64_t left;          /* bytes of the current frame's payload still to come */
    uint64_t message_end;   /* what `received` must be when the current message ends */
    unsigned opcode;
    bool final, in_message, deflated;
    struct inflater *inflater;
    uint64_t *since;        /* when each message in flight was sent, ns */
    size_t pong_length;     /* the frame in `pong` waits for the end of the frame being sent */
    unsigned char pong[131];
    size_t have;            /* bytes in `head` */
    unsigned char head[1024]; /* the response head, then frame headers and control frames */
};

static struct {
    int port, connections, in_flight;
    struct message_kind kind;
    bool handshakes, in_turn, never_read, flood, room, apart, resume;
    double rest;
    const char *path, *tls;
} options = {.connections = 1, .in_flight = 1, .kind.size = 32, .path = "/chat"};

static int poller;
static struct connection *all;
static int upgraded, closed, turn; /* connections so far; whose turn it is */
static bool stopping;              /* nothing further begins */
static uint64_t messages, pings;   /* of this run */
static uint64_t wire_bytes;        /* payload of data frames that came in this run */
static uint64_t reads;             /* so far, to see progress */
static char request[1024];
static struct ring ring;
static struct room {
    struct connection *publisher; /* NULL where each has its own answers */
    int members;                  /* the publisher is one of them */
    bool gathered;                /* they have all joined */
    int *have;                    /* how many have each message in flight */
} room;
static uint32_t *latencies;
static size_t latency_room;
static unsigned char buffer[BUFFER];

static uint64_t now(clockid_t clock) {
    struct timespec time;
    clock_gettime(clock, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

/* ---- sending ---- */

static void watch(struct connection *self, bool out) {
    struct epoll_event event = {.events = out ? EPOLLOUT : 0, .data.ptr = self};
    if (!options.never_read) event.events |= EPOLLIN;
    if (epoll_ctl(poller, EPOLL_CTL_MOD, self->fd, &event)) fail("epoll_ctl: %m");
    self->wants_out = out;
}

/* Notes that so many bytes of frames are written. */
static void advance(struct connection *self, uint64_t count) {
    for (self->part += count;; self->sent++) {
        const uint64_t *frame = ring.frame_starts + (self->first + self->sent) % ring.count;
        if (self->part < frame[1] - frame[0]) break;
        self->part -= frame[1] - frame[0];
    }
}

/* Returns how many bytes were taken, at least 0. */
static size_t transmit(struct connection *self, const void *data, size_t size) {
    if (self->tls) return tls_send(self->tls, data, size);
    ssize_t count = send(self->fd, data, size, MSG_DONTWAIT);
    if (count < 0 && errno != EAGAIN) fail("send: %m");
    return count < 0 ? 0 : (size_t)count;
}

static void transmit_all(struct connection *self, const void *data, size_t size, const char *what) {
    if (transmit(self, data, size) != size) fail("send of %s was cut short", what);
}

/* Whether the socket takes more; what TLS holds goes first. */
static bool may_push(struct connection *self) { return !self->tls || tls_flush(self->tls); }

/* Writes as much as the socket takes. A pong goes between two frames. */
static void push(struct connection *self) {
    bool blocked = !may_push(self);
    int64_t room = self->floods ? FLOOD_BYTES : INT64_MAX;
    while (!blocked) {
        bool pong = self->pong_length && !self->part;
        uint64_t index = (self->first + self->sent) % ring.count, left = self->allowed - self->sent;
        if (self->pong_length && left) left = 1;
        uint64_t end = left < ring.count - index ? index + left : ring.count;
        uint64_t place = ring.frame_starts[index] + self->part;
        uint64_t size = pong ? self->pong_length : ring.frame_starts[end] - place;
        if (!size) break;
        size_t count = transmit(self, pong ? self->pong : ring.frames + place, size);
        blocked = count < size || !may_push(self);
        if (!pong) advance(self, count), room -= (int64_t)count;
        if (room <= 0) blocked = true;
        else if (pong && count == size) self->pong_length = 0;
        else if (pong && count) fail("a pong was cut short");
    }
    if (blocked != self->wants_out) watch(self, blocked);
}

static void send_more(struct connection *self, int count, uint64_t time) {
    for (; count > 0; count--, self->allowed++) self->since[self->allowed % (uint64_t)options.in_flight] = time;
    push(self);
}

static void start_handshake(struct connection *self) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)options.port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address)) fail("connect: %m");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    uint64_t *since = self->since ? self->since : calloc((size_t)options.in_flight, sizeof *since);
    *self = (struct connection){.fd = fd, .state = options.tls ? SHAKING : UPGRADING, .since = since};
    self->first = room.publisher ? 0 : (uint64_t)(self - all) % ring.count;
    if (options.tls) self->tls = tls_begin(fd, options.resume && closed >= options.connections);
    else transmit_all(self, request, strlen(request), "a request");
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = self};
    if (epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event)) fail("epoll_ctl: %m");
}

static void start_close(struct connection *self) {
    static const unsigned char normal[] = {1000 >> 8, 1000 & 255};
    unsigned char frame[16];
    size_t size = put_frame(frame, CLOSE, 0, normal, sizeof normal);
    self->state = CLOSING;
    if (!options.kind.raw) transmit_all(self, frame, size, "Close");
    else if (self->tls) tls_shutdown(self->tls);
    else shutdown(self->fd, SHUT_WR);
}

/* ---- receiving ---- */

static void upgrade_done(struct connection *self) {
    self->have = 0;
    if (options.kind.socketio && self->state == UPGRADING) {
        self->state = JOINING;
        return;
    }
    self->state = OPEN;
    upgraded++;
    if (options.handshakes) start_close(self);
    else if (options.never_read) watch(self, false);
}

static bool accepted(const char *head) {
    static const char bits[] = "client_max_window_bits=";
    const char *limit = strstr(head, bits);
    if (strncmp(head, "HTTP/1.1 101 ", 13) != 0 || !strstr(head, ACCEPT)) return false;
    if (limit && atoi(limit + strlen(bits)) < DEFLATE_BITS) return false;
    return !strstr(head, "permessage-deflate") != options.kind.deflate;
}

/* Returns how many bytes of `data` belonged to the response head. */
static size_t take_head(struct connection *self, const unsigned char *data, size_t size) {
    size_t used = 0;
    while (used < size) {
        if (self->have == sizeof self->head - 1) fail("the response head is too long");
        self->head[self->have++] = data[used++];
        self->head[self->have] = 0;
        if (options.kind.raw ? self->have < strlen(request)
                             : self->have < 4 || memcmp(self->head + self->have - 4, "\r\n\r\n", 4))
            continue;
        if (options.kind.raw ? memcmp(self->head, request, self->have) != 0 : !accepted((char *)self->head))
            fail("the handshake was answered with:\n%s", self->head);
        upgrade_done(self);
        break;
    }
    return used;
}

static void note_latency(uint64_t time) {
    if (messages == latency_room) {
        latency_room = latency_room ? 2 * latency_room : 1 << 16;
        latencies = realloc(latencies, latency_room * sizeof *latencies);
        if (!latencies) fail("no memory");
    }
    latencies[messages++] = (uint32_t)(time > UINT32_MAX ? UINT32_MAX : time);
}

/* A server may answer a handshake before the member has joined: the first message that it gets may be any of those
 * published while members gather. Tells whether these bytes go on with one of them, behind those that came. */
static bool finds_first(struct connection *self, const unsigned char *data, size_t size) {
    const unsigned char *before = ring.answers + ring.answer_starts[self->received % ring.count];
    for (uint64_t index = self->received; index < room.publisher->allowed; index++) {
        const unsigned char *other = ring.answers + ring.answer_starts[index % ring.count];
        if (memcmp(other, before, self->got) || memcmp(other + self->got, data, size)) continue;
        self->message_end += index - self->received;
        self->received = index;
        return true;
    }
    return false;
}

/* Tells whether all members of the room have the message now. */
static bool with_all(uint64_t index) {
    int *have = &room.have[index % (uint64_t)options.in_flight];
    if (++*have < room.members) return false;
    *have = 0;
    return true;
}

/* Compares; returns how many messages were completed. */
static int take_payload(struct connection *self, const unsigned char *data, size_t size, uint64_t time) {
    const struct connection *sender = room.publisher ? room.publisher : self;
    int completed = 0;
    while (size) {
        const uint64_t *answer = ring.answer_starts + (self->first + self->received) % ring.count;
        uint64_t place = answer[0] + self->got, part = answer[1] - place;
        if (part > size) part = size;
        if (self->received >= sender->allowed) fail("an answer to nothing");
        bool joins = room.publisher && !room.gathered && !self->joined;
        if (joins ? !finds_first(self, data, part) : memcmp(ring.answers + place, data, part) != 0)
            fail("an answer differs from what was sent");
        data += part;
        size -= part;
        if (place + part < answer[1]) {
            self->got += part;
            continue;
        }
        self->got = 0;
        uint64_t index = self->received++;
        self->joined = true;
        if (room.publisher && !room.gathered) continue;
        if (self->floods || (room.publisher && !with_all(index))) continue;
        note_latency(time - sender->since[index % (uint64_t)options.in_flight]);
        completed++;
    }
    return completed;
}

struct inflating {
    struct connection *connection;
    uint64_t time;
    int completed;
};

static void take_inflated(void *context, const unsigned char *data, size_t size) {
    struct inflating *self = context;
    self->completed += take_payload(self->connection, data, size, self->time);
}

static void take_control(struct connection *self, const unsigned char *payload, size_t size) {
    if (self->opcode == PING && self->state == OPEN) {
        pings++;
        self->pong_length = put_frame(self->pong, PONG, 0, payload, size);
        push(self);
    } else if (self->opcode == CLOSE && self->state != CLOSING) {
        unsigned code = size < 2 ? 1005 : (unsigned)payload[0] << 8 | payload[1];
        fail("closed by the server with code %u", code);
    }
}

/* Socket.IO's own packets: "0" opens, "40" joins its namespace, "2" is a ping. */
static bool is_packet(const struct connection *self, unsigned short_size) {
    return options.kind.socketio && self->opcode == TEXT && (self->state == JOINING || short_size == 1);
}

static void take_packet(struct connection *self, const unsigned char *payload, size_t size) {
    self->in_message = false;
    if (self->state == JOINING && size > 1 && payload[0] == '0') {
        self->pong_length = put_frame(self->pong, TEXT, 0, (const unsigned char *)"40", 2);
        push(self);
    } else if (self->state == JOINING && size > 2 && !memcmp(payload, "40", 2)) upgrade_done(self);
    else if (size == 1 && payload[0] == '2') {
        self->pong_length = put_frame(self->pong, TEXT, 0, (const unsigned char *)"3", 1);
        push(self);
    } else fail("a packet of Socket.IO: %.*s", (int)size, (const char *)payload);
}

static void begin_frame(struct connection *self, unsigned first) {
    bool deflated = first & 0x40;
    self->opcode = first & 15;
    self->final = first & 0x80;
    if (first & 0x30 || (deflated && (!options.kind.deflate || self->opcode >= CLOSE || self->in_message)))
        fail("a reserved bit is set");
    if (self->opcode >= CLOSE) return;
    unsigned wanted = self->in_message ? CONTINUATION : options.kind.text ? TEXT : BINARY;
    if (self->opcode != wanted) fail("opcode %u instead of %u", self->opcode, wanted);
    if (!self->in_message) self->message_end = self->received + 1, self->deflated = deflated;
    self->in_message = true;
}

static int take_data(struct connection *self, const unsigned char *data, size_t size, uint64_t time) {
    if (!self->floods) wire_bytes += size;
    if (!self->deflated) return take_payload(self, data, size, time);
    struct inflating inflating = {self, time, 0};
    inflate_piece(&self->inflater, data, size, take_inflated, &inflating);
    return inflating.completed;
}

static int end_data_frame(struct connection *self, uint64_t time) {
    if (!self->final) return 0;
    struct inflating inflating = {self, time, 0};
    if (self->deflated) inflate_end(&self->inflater, take_inflated, &inflating);
    self->in_message = false;
    if (self->received != self->message_end || self->got) fail("an answer of another length");
    return inflating.completed;
}

static int take_frames(struct connection *self, const unsigned char *data, size_t size, uint64_t time) {
    int completed = 0;
    while (size) {
        if (self->left) { /* inside the payload of a data frame */
            size_t part = self->left < size ? self->left : size;
            completed += take_data(self, data, part, time);
            data += part;
            size -= part;
            if (!(self->left -= part)) completed += end_data_frame(self, time);
            continue;
        }
        self->head[self->have++] = *data++;
        size--;
        if (self->have < 2) continue;
        unsigned short_size = self->head[1] & 127;
        if (self->head[1] & 0x80) fail("a masked frame from the server");
        size_t header = short_size < 126 ? 2 : short_size == 126 ? 4 : 10;
        if (self->have < header) continue;
        if (self->have == header) begin_frame(self, self->head[0]);
        if (self->opcode >= CLOSE || is_packet(self, short_size)) {
            if (short_size > 125) fail("a control frame that is too long");
            if (self->have < header + short_size) continue;
            if (self->opcode >= CLOSE) take_control(self, self->head + header, short_size);
            else take_packet(self, self->head + header, short_size);
        } else {
            self->left = short_size < 126 ? short_size : 0;
            for (size_t index = 2; index < header; index++)
                self->left = self->left << 8 | self->head[index];
            if (!self->left) completed += end_data_frame(self, time);
        }
        self->have = 0;
    }
    return completed;
}

static void gone(struct connection *self) {
    if (self->state != CLOSING) fail("the server ended the connection");
    if (self->tls) tls_free(self->tls);
    self->tls = NULL;
    close(self->fd);
    free_inflater(self->inflater);
    self->inflater = NULL;
    self->state = ABSENT;
    closed++;
    if (!stopping) start_handshake(self);
}

static ssize_t receive(struct connection *self) {
    if (!self->tls) return recv(self->fd, buffer, sizeof buffer, MSG_DONTWAIT);
    ssize_t count = tls_receive(self->tls, buffer, sizeof buffer);
    if (self->state == SHAKING && tls_is_open(self->tls)) {
        int error = errno; /* OpenSSL clears it */
        self->state = UPGRADING;
        transmit_all(self, request, strlen(request), "a request");
        errno = error;
    }
    return count;
}

static void readable(struct connection *self) {
    ssize_t count = receive(self);
    if (count < 0 && errno == EAGAIN) return;
    reads++;
    if (count < 0 && !(self->state == CLOSING && errno == ECONNRESET)) fail("recv: %m");
    if (count <= 0) {
        gone(self);
        return;
    }
    size_t used = self->state == UPGRADING ? take_head(self, buffer, (size_t)count) : 0;
    uint64_t time = now(CLOCK_MONOTONIC);
    int completed = options.kind.raw ? take_payload(self, buffer + used, (size_t)count - used, time)
                                     : take_frames(self, buffer + used, (size_t)count - used, time);
    if (self->tls && tls_ended(self->tls)) gone(self);
    if (!completed || stopping) return;
    if (!options.in_turn) send_more(room.publisher ? room.publisher : self, completed, time);
    else if (++turn < options.connections) send_more(&all[turn], 1, time);
}

/* One wait and its events; true when stdin has a line or its end. */
static bool step(int milliseconds) {
    struct epoll_event events[256];
    bool told = false;
    int count = epoll_wait(poller, events, 256, milliseconds);
    if (count < 0 && errno != EINTR) fail("epoll_wait: %m");
    for (int index = 0; index < count; index++) {
        struct connection *self = events[index].data.ptr;
        uint32_t what = events[index].events;
        if (!self) told = true;
        else if (what & ~(uint32_t)EPOLLOUT) readable(self); /* of an error recv says which */
        if (self && self->state != ABSENT && what & EPOLLOUT) push(self);
    }
    return told;
}

static void step_or_fail(const char *what, int milliseconds) {
    static uint64_t seen, when;
    uint64_t time = now(CLOCK_MONOTONIC);
    if (reads != seen || !when) seen = reads, when = time;
    if (time - when > PATIENCE_NS) fail("no progress for 60 s: %s", what);
    step(milliseconds);
}

/* ---- the run ---- */

static void watch_stdin(int operation) {
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
    if (epoll_ctl(poller, operation, STDIN_FILENO, &event)) fail("stdin: %m");
}

static void say_ready(void) {
    puts("ready");
    fflush(stdout);
}

/* Connects what publishes to the room beside its members, in the place of one before. */
static void connect_publisher(void) {
    if (!room.publisher || !options.apart) fail("no publisher is apart");
    if (room.publisher->allowed) fail("the publisher has published");
    int before = upgraded;
    stopping = false;
    if (room.publisher->state == OPEN) start_close(room.publisher);
    else start_handshake(room.publisher);
    while (upgraded == before) step_or_fail("the publisher's handshake", WAIT_MS);
    say_ready();
}

/* Returns the seconds of the next run; 0 at the end of stdin. */
static double wait_for_caller(void) {
    for (;;) {
        char line[64] = "";
        watch_stdin(EPOLL_CTL_ADD);
        while (!step(-1)) {}
        watch_stdin(EPOLL_CTL_DEL);
        if (read(STDIN_FILENO, line, sizeof line - 1) < 0) fail("stdin: %m");
        if (strcmp(line, "publisher\n") != 0) return atof(line);
        connect_publisher();
    }
}

static void connect_all(void) {
    int begun = 0;
    uint64_t begin = now(CLOCK_MONOTONIC), gap = (uint64_t)(options.rest * 1e9) / (uint64_t)options.connections;
    while (upgraded < options.connections) {
        while (begun < options.connections && begun - upgraded < HANDSHAKES_AT_ONCE
               && now(CLOCK_MONOTONIC) - begin >= gap * (uint64_t)begun)
            start_handshake(&all[begun++]);
        if (begun == upgraded) { /* the next one's time has not come */
            step(1);
            continue;
        }
        step_or_fail("handshakes", WAIT_MS);
    }
}

static void start_flood(struct connection *self) {
    self->floods = true;
    self->allowed = UINT64_MAX / 2;
    push(self);
}

/* It ends with the frame that it is at, and has all its answers. */
static void end_flood(struct connection *self) {
    self->allowed = self->sent + (self->part > 0);
    while (self->received < self->allowed) step_or_fail("the flood", WAIT_MS);
    self->floods = false;
}

static int behind(void) {
    int count = 0;
    for (int index = 0; index < room.members; index++)
        count += all[index].received < room.publisher->allowed;
    return count;
}

/* Publishes until all members of the room get what is published: again whenever nothing came for a while. */
static void gather(void) {
    uint64_t end = now(CLOCK_MONOTONIC) + PATIENCE_NS;
    do {
        room.publisher->allowed++;
        push(room.publisher);
        for (uint64_t seen = reads - 1; behind() && seen != reads; step(GATHER_MS)) seen = reads;
        if (now(CLOCK_MONOTONIC) > end) fail("%d of %d members get no messages", behind(), room.members);
    } while (behind());
    room.gathered = true;
}

static void nap(void) {
    static const struct timespec time = {0, NAP_NS};
    nanosleep(&time, NULL);
}

static void echo(uint64_t begin, uint64_t end) {
    bool naps = !options.in_turn && !options.flood && options.connections * options.in_flight >= NAP_FROM;
    int first = options.flood, last = options.connections;
    if (room.publisher) first = (int)(room.publisher - all), last = first + 1;
    int count = options.in_turn ? 1 : last;
    uint64_t before = 0, expected = 0;
    if (options.flood) start_flood(&all[0]);
    for (int index = first; index < last; index++)
        before += all[index].allowed;
    for (int index = first; index < count; index++)
        send_more(&all[index], options.in_turn ? 1 : options.in_flight, begin);
    while (options.in_turn ? turn < options.connections : now(CLOCK_MONOTONIC) < end) {
        if (naps) nap();
        step_or_fail("echoes", naps ? 0 : WAIT_MS);
    }
    stopping = true;
    for (int index = first; index < last; index++)
        expected += all[index].allowed;
    while (messages < expected - before) step_or_fail("the last echoes", WAIT_MS);
    if (options.flood) end_flood(&all[0]);
}

static uint64_t shake_hands(uint64_t end) {
    int before = closed;
    for (int index = 0; index < options.connections; index++) start_handshake(&all[index]);
    while (now(CLOCK_MONOTONIC) < end) step_or_fail("handshakes", WAIT_MS);
    stopping = true;
    for (int index = 0; index < options.connections; index++)
        while (all[index].state != ABSENT) step_or_fail("the last handshakes", WAIT_MS);
    return (uint64_t)(closed - before);
}

static uint64_t flood(uint64_t end) {
    uint64_t sent = 0;
    for (int index = 0; index < options.connections; index++) {
        all[index].allowed = UINT64_MAX / 2;
        push(&all[index]);
    }
    while (now(CLOCK_MONOTONIC) < end) step(100);
    for (int index = 0; index < options.connections; index++) sent += all[index].sent;
    return sent;
}

static uint64_t rest(uint64_t end) {
    for (uint64_t time; (time = now(CLOCK_MONOTONIC)) < end;) step((int)((end - time) / 1000000) + 1);
    return pings;
}

static void close_all(void) {
    int open = 0, before = closed;
    stopping = true;
    for (int index = 0; index < options.connections + options.apart; index++)
        if (all[index].state == OPEN) start_close(&all[index]), open++;
    while (closed - before < open) step_or_fail("closes", WAIT_MS);
}

static int compare(const void *one, const void *other) {
    uint32_t left = *(const uint32_t *)one, right = *(const uint32_t *)other;
    return (left > right) - (left < right);
}

static double percentile_us(double part) {
    return messages ? latencies[(size_t)((double)(messages - 1) * part)] / 1e3 : 0;
}

static void run(double seconds) {
    if (room.publisher && !room.gathered) gather();
    uint64_t begin = now(CLOCK_MONOTONIC), cpu = now(CLOCK_PROCESS_CPUTIME_ID), done = 0;
    uint64_t end = begin + (uint64_t)(seconds * 1e9);
    stopping = false;
    messages = pings = wire_bytes = 0;
    turn = 0;
    if (options.handshakes) done = shake_hands(end);
    else if (options.never_read) done = flood(end);
    else if (options.rest > 0) done = rest(end);
    else echo(begin, end), done = messages;
    seconds = (double)(now(CLOCK_MONOTONIC) - begin) / 1e9;
    double cpu_us = (double)(now(CLOCK_PROCESS_CPUTIME_ID) - cpu) / 1e3;
    if (messages) qsort(latencies, messages, sizeof *latencies, compare);
    printf("{\"done\": %lu, \"seconds\": %.6f, \"client_cpu_us\": %.3f, \"p50_us\": %.1f, "
           "\"p99_us\": %.1f, \"wire_bytes\": %.0f}\n", done, seconds, done ? cpu_us / (double)done : 0,
           percentile_us(0.50), percentile_us(0.99), done ? (double)wire_bytes / (double)done : 0);
    fflush(stdout);
}

static void parse(int count, char **words) {
    static const struct option names[] = {
        {"connections", 1, 0, 'c'}, {"in-flight", 1, 0, 'k'}, {"size", 1, 0, 's'},
        {"text", 0, 0, 'x'},        {"upper", 0, 0, 'u'},     {"raw", 0, 0, 'r'},
        {"handshakes", 0, 0, 'h'},  {"in-turn", 0, 0, 'o'},   {"never-read", 0, 0, 'n'},
        {"flood", 0, 0, 'f'},       {"deflate", 0, 0, 'd'},   {"rest", 1, 0, 'w'},
        {"room", 0, 0, 'm'},        {"apart", 0, 0, 'a'},     {"path", 1, 0, 'p'},
        {"socketio", 0, 0, 'i'},    {"tls", 1, 0, 't'},       {"resume", 0, 0, 'e'},
        {0}};
    for (int option; (option = getopt_long(count, words, "", names, NULL)) != -1;) switch (option) {
        case 'c': options.connections = atoi(optarg); break;
        case 'k': options.in_flight = atoi(optarg); break;
        case 's': options.kind.size = (size_t)atoll(optarg); break;
        case 'x': options.kind.text = true; break;
        case 'u': options.kind.upper = options.kind.text = true; break;
        case 'd': options.kind.deflate = options.kind.text = true; break;
        case 'r': options.kind.raw = true; break;
        case 'h': options.handshakes = true; break;
        case 'o': options.in_turn = true; break;
        case 'n': options.never_read = true; break;
        case 'f': options.flood = true; break;
        case 'w': options.rest = atof(optarg); break;
        case 'm': options.room = true; break;
        case 'a': options.room = options.apart = true; break;
        case 'p': options.path = optarg; break;
        case 'i': options.kind.socketio = options.kind.text = true; break;
        case 't': options.tls = optarg; break;
        case 'e': options.resume = true; break;
        default: exit(64);
    }
    if (optind != count - 1) fail("one port is needed");
    options.port = atoi(words[optind]);
    if (options.port < 1 || options.connections < 1 || options.in_flight < 1 || options.kind.size < 1)
        fail("numbers must be positive");
    if (options.resume && !(options.tls && options.handshakes)) fail("only handshakes by TLS resume a session");
    if (options.flood && options.connections < 2) fail("a flood needs others beside it");
    int size = snprintf(request, sizeof request, REQUEST, options.path, options.kind.deflate ? OFFER : "");
    if (size >= (int)sizeof request) fail("the path is too long");
}

static void found_room(void) {
    room.publisher = &all[options.apart ? options.connections : 0];
    room.members = options.connections + options.apart;
    room.have = calloc((size_t)options.in_flight, sizeof *room.have);
    if (!room.have) fail("no memory");
}

int main(int count, char **words) {
    parse(count, words);
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    prctl(PR_SET_TIMERSLACK, 1); /* else a nap takes 50 us more */
    if (options.tls) tls_prepare(options.tls, options.resume);
    build_ring(&ring, options.kind);
    all = calloc((size_t)options.connections + options.apart, sizeof *all);
    if (options.room) found_room();
    poller = epoll_create1(EPOLL_CLOEXEC);
    if (poller < 0) fail("epoll_create1: %m");

    if (!options.handshakes) connect_all();
    else if (options.resume) shake_hands(0); /* for the first sessions */
    say_ready();
    for (double seconds; (seconds = wait_for_caller()) > 0;) run(seconds);
    if (!options.handshakes && !options.never_read) close_all();
    return 0;
}
