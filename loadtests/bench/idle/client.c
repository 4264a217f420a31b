/* The clients of `make bench-idle`: one process that holds up to RLIMIT_NOFILE connections, which say nothing.
 *
 * Rules. One thread on epoll, and some thirty bytes for a connection. Each server ping is answered, each
 * Close is confirmed and its code is counted. A frame that no idle client should get, or an answer that
 * is not what was asked for, ends the program with a line on stderr. At rest the program naps between two
 * looks at its sockets: real clients have processors of their own, and these would take those of the
 * server to wake up 40,000 times a second. While it measures answers it does not nap.
 *
 * Each line on stdin is an order, and is answered by one line of JSON when it is done:
 *
 *   open N         open connections until there are N, or until one cannot be opened
 *   ping SECONDS   once a second send a ping on each connection, one after the other, and time its pong
 *   echo SECONDS   the same with a message of 32 bytes
 *   again 1        from now on open a connection anew when it was closed; 0: no longer
 *   count          tell what has happened since the last count
 *
 * At the end of stdin the program leaves at once.
 *
 *   client PORT ADDRESS [--at-once N]
 *
 * ADDRESS is the first source address, one in 127.0.0.0/8; each one serves for PER_ADDRESS connections.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
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
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

/* The kernel looks at one half of the 28,232 ports first; beyond that, finding a free one takes long. */
enum { PER_ADDRESS = 8192 };
enum { EVENTS = 512, BUFFER = 64 << 10, MESSAGE = 32, MOST_CODE = 1016, LOST = 1006 };
enum { NAP_MS = 5, RETRY_MS = 100, SILENCE_S = 60 };
enum { BINARY = 2, CLOSE = 8, PING = 9, PONG = 10 };

/* The key of RFC 6455's example, and the answer that it must get. */
static const char REQUEST[] =
    "GET /chat HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
static const char ACCEPT[] = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

struct connection {
    int fd;
    enum { ABSENT, UPGRADING, OPEN, CLOSING } state;
    unsigned have;       /* bytes in `rest` */
    unsigned char *rest; /* what was read of a head or a frame that is not whole; mostly there is none */
    uint64_t asked;      /* when the question was sent that waits for its answer, ns; else 0 */
};

static struct sockaddr_in server;
static in_addr_t first_address;
static int at_once = 8;
static int poller, room;
static struct connection *all;
static int *absent, absent_count; /* indices of connections that can be opened */
static int wanted, upgrading, upgraded;
static bool again;
static uint64_t retry_at; /* ns; 0 while nothing was refused */
static char trouble[200]; /* why the last connection could not be opened */
static unsigned char buffer[BUFFER + 1];

static struct {
    uint64_t pings, opened, refused, codes[MOST_CODE];
} counts;

static struct {
    unsigned opcode; /* of the answers; 0 while nothing is asked */
    int waiting;
    uint32_t *latencies, count, room; /* us */
} probe;
static const unsigned char QUESTION[MESSAGE] = "are you there? I have 32 bytes.";

static void fail(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    fputs("idle client: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    exit(1);
}

static uint64_t now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

static void nap(int milliseconds) {
    struct timespec time = {0, milliseconds * 1000000};
    nanosleep(&time, NULL);
}

/* ---- opening and closing ---- */

static void forget(struct connection *self) {
    close(self->fd);
    free(self->rest);
    if (self->asked) probe.waiting--;
    if (self->state == UPGRADING) upgrading--;
    else upgraded--;
    *self = (struct connection){.state = ABSENT};
    absent[absent_count++] = (int)(self - all);
    if (!again) wanted = upgraded + upgrading;
}

static void refused(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(trouble, sizeof trouble, format, arguments);
    counts.refused++;
    retry_at = now() + RETRY_MS * 1000000u;
}

static bool start_handshake(void) {
    struct connection *self = &all[absent[absent_count - 1]];
    struct sockaddr_in source = {.sin_family = AF_INET};
    source.sin_addr.s_addr = htonl(first_address + (in_addr_t)((self - all) / PER_ADDRESS));
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = self};
    int yes = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return refused("socket: %m"), false;
    /* The port is chosen when it connects, so that connections to other places do not count. */
    setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &yes, sizeof yes);
    if (bind(fd, (struct sockaddr *)&source, sizeof source) ||
        connect(fd, (struct sockaddr *)&server, sizeof server) ||
        send(fd, REQUEST, sizeof REQUEST - 1, MSG_NOSIGNAL) < 0 ||
        epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event)) {
        refused("connect: %m");
        close(fd);
        return false;
    }
    absent_count--;
    *self = (struct connection){.fd = fd, .state = UPGRADING};
    upgrading++;
    return true;
}

static void start_handshakes(void) {
    if (retry_at && now() < retry_at) return;
    retry_at = 0;
    while (upgraded + upgrading < wanted && upgrading < at_once && absent_count)
        if (!start_handshake()) return;
}

static void send_frame(struct connection *self, unsigned opcode, const void *data, size_t size) {
    unsigned char frame[6 + 125] = {(unsigned char)(0x80 | opcode), (unsigned char)(0x80 | size), 'm', 'a', 's', 'k'};
    for (size_t index = 0; index < size; index++)
        frame[6 + index] = ((const unsigned char *)data)[index] ^ frame[2 + (index & 3)];
    /* One that fails is a connection that was closed: its end is read next. */
    send(self->fd, frame, 6 + size, MSG_DONTWAIT | MSG_NOSIGNAL);
}

/* ---- reading ---- */

static void answered(struct connection *self, const unsigned char *data, size_t size) {
    if (!self->asked) fail("an answer that nobody has asked for");
    if (size != MESSAGE || memcmp(data, QUESTION, size)) fail("another answer than was asked for");
    if (probe.count < probe.room)
        probe.latencies[probe.count++] = (uint32_t)((now() - self->asked) / 1000);
    self->asked = 0;
    probe.waiting--;
}

static void on_frame(struct connection *self, unsigned opcode, const unsigned char *data, size_t size) {
    if (opcode == PING) {
        counts.pings++;
        if (self->state == OPEN) send_frame(self, PONG, data, size);
    } else if (opcode == CLOSE) {
        unsigned code = size < 2 ? 1005 : (unsigned)(data[0] << 8 | data[1]);
        if (code >= MOST_CODE) fail("a Close with code %u", code);
        counts.codes[code]++;
        send_frame(self, CLOSE, data, size < 2 ? 0 : 2);
        self->state = CLOSING;
    } else if (opcode == probe.opcode) {
        answered(self, data, size);
    } else {
        fail("a frame with opcode %u for a client that has said nothing", opcode);
    }
}

/* Returns the bytes of the head; 0 if it is not whole. */
static size_t take_head(struct connection *self, size_t size) {
    buffer[size] = 0;
    char *head = (char *)buffer, *end = strstr(head, "\r\n\r\n");
    if (!end) return 0;
    if (strncmp(head, "HTTP/1.1 101 ", 13) || !strstr(head, ACCEPT)) {
        refused("the server answered: %.*s", (int)strcspn(head, "\r"), head);
        forget(self);
        return 0;
    }
    self->state = OPEN;
    upgrading--;
    upgraded++;
    counts.opened++;
    return (size_t)(end + 4 - head);
}

static void ended(struct connection *self) {
    if (self->state == UPGRADING) refused("a socket was closed within the handshake");
    if (self->state == OPEN) counts.codes[LOST]++;
    forget(self);
}

static void take_bytes(struct connection *self) {
    size_t size = self->have, place = 0;
    if (size) memcpy(buffer, self->rest, size);
    ssize_t count = recv(self->fd, buffer + size, BUFFER - size, MSG_DONTWAIT);
    if (count < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (count <= 0) return ended(self);
    size += (size_t)count;
    if (self->state == UPGRADING) {
        place = take_head(self, size);
        if (self->state == ABSENT) return;
    }
    while (self->state != UPGRADING && size - place >= 2) {
        size_t length = buffer[place + 1];
        if (!(buffer[place] & 0x80) || length > 125) fail("a frame longer than any that was asked for");
        if (size - place < 2 + length) break;
        on_frame(self, buffer[place] & 0x0f, buffer + place + 2, length);
        place += 2 + length;
    }
    self->have = (unsigned)(size - place);
    free(self->rest);
    self->rest = NULL;
    if (self->have) {
        self->rest = malloc(self->have);
        memcpy(self->rest, buffer + place, self->have);
    }
}

/* Serves what is there, and returns whether an order has come. */
static bool step(int milliseconds) {
    struct epoll_event events[EVENTS];
    bool told = false;
    start_handshakes();
    int count = epoll_wait(poller, events, EVENTS, milliseconds);
    if (count < 0 && errno != EINTR) fail("epoll_wait: %m");
    for (int index = 0; index < count; index++) {
        struct connection *self = events[index].data.ptr;
        if (!self) told = true;
        else if (self->state != ABSENT) take_bytes(self);
    }
    return told;
}

/* ---- orders ---- */

static void open_until(int number) {
    uint64_t begun = now(), changed = begun;
    int before = upgraded;
    wanted = number < room ? number : room;
    *trouble = 0;
    while (upgraded < wanted && !*trouble) {
        step(100);
        if (before != upgraded) before = upgraded, changed = now();
        if (now() - changed > SILENCE_S * 1000000000ull) refused("no progress for %d s", SILENCE_S);
    }
    wanted = upgraded + upgrading;
    while (upgrading) step(100);
    wanted = upgraded;
    printf("{\"open\": %d, \"seconds\": %.3f, \"trouble\": \"%s\"}\n", upgraded,
           (double)(now() - begun) / 1e9, *trouble ? trouble : upgraded < number ? "RLIMIT_NOFILE" : "");
}

static int compare(const void *one, const void *other) {
    uint32_t left = *(const uint32_t *)one, right = *(const uint32_t *)other;
    return (left > right) - (left < right);
}

static double part_ms(double part) {
    return probe.count ? probe.latencies[(size_t)((double)(probe.count - 1) * part)] / 1e3 : 0;
}

static void ask(struct connection *self, unsigned opcode) {
    if (self->state != OPEN || self->asked) return;
    self->asked = now();
    probe.waiting++;
    send_frame(self, opcode, QUESTION, MESSAGE);
}

/* Asks each connection once a second, evenly, and skips one whose answer is missing. */
static void ask_all(unsigned question, unsigned answer, double seconds) {
    if (!upgraded) fail("no connection to ask");
    uint64_t begun = now(), end = begun + (uint64_t)(seconds * 1e9), pause = 1000000000u / (uint64_t)upgraded;
    probe.room = (uint32_t)((seconds + 1) * upgraded);
    probe.latencies = malloc(probe.room * sizeof *probe.latencies);
    probe.count = 0;
    probe.opcode = answer;
    for (uint64_t due = begun, turn = 0; due < end; due += pause, turn++) {
        for (uint64_t time; (time = now()) < due;) step((int)((due - time) / 1000000u));
        ask(&all[turn % (uint64_t)room], question);
        if (turn + 1 >= (uint64_t)upgraded) turn = UINT64_MAX;
    }
    uint64_t last = now() + SILENCE_S * 1000000000ull;
    while (probe.waiting && now() < last) step(100);
    if (probe.waiting) fail("%d answers are missing", probe.waiting);
    qsort(probe.latencies, probe.count, sizeof *probe.latencies, compare);
    printf("{\"answers\": %u, \"p50_ms\": %.3f, \"p99_ms\": %.3f, \"max_ms\": %.3f}\n", probe.count,
           part_ms(0.50), part_ms(0.99), part_ms(1));
    free(probe.latencies);
    probe.opcode = 0;
}

static void count(void) {
    const char *comma = "";
    printf("{\"open\": %d, \"pings\": %lu, \"opened\": %lu, \"refused\": %lu, \"codes\": {", upgraded,
           counts.pings, counts.opened, counts.refused);
    for (int code = 0; code < MOST_CODE; code++) {
        if (!counts.codes[code]) continue;
        printf("%s\"%d\": %lu", comma, code, counts.codes[code]);
        comma = ", ";
    }
    puts("}}");
    memset(&counts, 0, sizeof counts);
}

static void obey(const char *order) {
    double number = 0;
    if (sscanf(order, "open %lf", &number) == 1) open_until((int)number);
    else if (sscanf(order, "ping %lf", &number) == 1) ask_all(PING, PONG, number);
    else if (sscanf(order, "echo %lf", &number) == 1) ask_all(BINARY, BINARY, number);
    else if (sscanf(order, "again %lf", &number) == 1) again = number > 0, puts("{}");
    else if (!strcmp(order, "count\n")) count();
    else fail("no such order: %s", order);
    fflush(stdout);
}

static void parse(int count, char **words) {
    static const struct option names[] = {{"at-once", 1, 0, 'a'}, {0}};
    for (int option; (option = getopt_long(count, words, "", names, NULL)) != -1;) {
        if (option != 'a') exit(64);
        at_once = atoi(optarg);
    }
    if (optind != count - 2 || at_once < 1) fail("a port and an address are needed");
    server.sin_family = AF_INET;
    server.sin_port = htons((uint16_t)atoi(words[optind]));
    server.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    struct in_addr source;
    if (!inet_aton(words[optind + 1], &source)) fail("%s is no address", words[optind + 1]);
    first_address = ntohl(source.s_addr);
}

int main(int arguments, char **words) {
    parse(arguments, words);
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    poller = epoll_create1(EPOLL_CLOEXEC);
    if (poller < 0) fail("epoll_create1: %m");
    room = (int)(files.rlim_max < 1 << 20 ? files.rlim_max : 1 << 20) - poller - 8;
    all = calloc((size_t)room, sizeof *all);
    absent = malloc((size_t)room * sizeof *absent);
    for (int index = room; index--;) absent[absent_count++] = index;
    struct epoll_event event = {.events = EPOLLIN};
    if (epoll_ctl(poller, EPOLL_CTL_ADD, STDIN_FILENO, &event)) fail("stdin: %m");

    char order[64];
    for (;;) {
        if (!step(again && upgraded < wanted ? NAP_MS : -1)) {
            nap(NAP_MS);
            continue;
        }
        ssize_t size = read(STDIN_FILENO, order, sizeof order - 1);
        if (size <= 0) return 0;
        order[size] = 0;
        obey(order);
    }
}
