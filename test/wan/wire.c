/*
 * A long wire between two network namespaces, for kernels without netem: each end is a TUN device named wan0, and this
 * program carries the packets, late, at a bounded rate, and not all of them.
 *
 *   wire NAMESPACE NAMESPACE DELAY_MS LOSS_PERCENT RATE_MBIT [offload]
 *
 * Each direction has a thread of its own; the figures hold for each. It writes "ready" when both devices are there.
 * With "offload" the devices do what network cards do: the kernel hands over many TCP segments as one, and gets them so.
 * On the wire they are single packets all the same, each with its time and its luck; what is lost is cut out.
 * A network does not wait until the hosts at its ends leave it a core: the threads run before all else (SCHED_FIFO), in
 * turns, since being woken for each packet would cost those hosts more than the packets do. Without, on two cores, the wire
 * waited for 0.4 s of each second, and what it could have carried meanwhile was lost.
 * SIGUSR1 cuts the wire (packets vanish, as with a cable that is pulled somewhere on the way), SIGUSR2 mends it.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/virtio_net.h>
#include <net/if.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

enum { LARGEST_PACKET = 70000, READS_IN_TURN = 256, NS_BETWEEN_TURNS = 200000, TCP = 6, FIN = 1, PUSH = 8 };

/* What stands before each packet that is read from a device, or written to it. */
typedef struct virtio_net_hdr head;

struct packet {
  uint64_t due;
  /* Of the head and the bytes. */
  int length;
  /* What it takes up in the router's buffer and on the wire. */
  int wire_bytes;
  struct packet *next;
  unsigned char bytes[];
};

struct direction {
  int from, to;
  unsigned seed;
  /* Packets on their way, in order. */
  struct packet *first, *last;
  int64_t queued_bytes;
  /* When the sending end has put the packet before on the wire. */
  uint64_t free_at;
};

static uint64_t delay_ns;
static double loss, bits_per_ns;
/* A router's buffer of 50 ms lies before the wire; what does not fit into that and the wire is lost. */
static int64_t most_bytes;
static volatile sig_atomic_t cut = 0;
static int offload = 0;

static void on_signal(int number) { cut = number == SIGUSR1; }

static uint64_t now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void die(const char *what) {
  perror(what);
  exit(1);
}

/* Opens the device in the namespace. The thread comes back to its own namespace afterwards. */
static int open_end(const char *name_space) {
  char path[256];
  snprintf(path, sizeof path, "/run/netns/%s", name_space);
  int own = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
  int other = open(path, O_RDONLY | O_CLOEXEC);
  if (own < 0 || other < 0) die(path);
  if (setns(other, CLONE_NEWNET) != 0) die("setns");
  int device = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
  if (device < 0) die("/dev/net/tun");
  struct ifreq request = {.ifr_flags = IFF_TUN | IFF_NO_PI | IFF_VNET_HDR};
  strcpy(request.ifr_name, "wan0");
  if (ioctl(device, TUNSETIFF, &request) != 0) die("TUNSETIFF");
  if (offload && ioctl(device, TUNSETOFFLOAD, TUN_F_CSUM | TUN_F_TSO4) != 0) die("TUNSETOFFLOAD");
  if (setns(own, CLONE_NEWNET) != 0) die("setns");
  close(own);
  close(other);
  return device;
}

/* Whether a packet of this size gets onto the wire; if so, when it has left the sending end. */
static int passes(struct direction *d, int length, int queued) {
  if (cut || rand_r(&d->seed) < loss * ((double)RAND_MAX + 1)) return 0;
  if (d->queued_bytes + queued + length > most_bytes) return 0;
  /* It has come since the turn before. */
  uint64_t came = now_ns() - NS_BETWEEN_TURNS;
  if (d->free_at < came) d->free_at = came;
  d->free_at += (uint64_t)(length * 8 / bits_per_ns);
  return 1;
}

static struct packet *make_packet(int length) {
  struct packet *p = malloc(sizeof *p + (size_t)length);
  if (p == NULL) die("malloc");
  p->length = length;
  p->next = NULL;
  return p;
}

static void put_on(struct direction *d, struct packet *p, int wire_bytes) {
  p->due = d->free_at + delay_ns;
  p->wire_bytes = wire_bytes;
  if (d->last != NULL) d->last->next = p;
  else d->first = p;
  d->last = p;
  d->queued_bytes += wire_bytes;
}

static uint32_t get32(const unsigned char *b) {
  return (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
}

static void put16(unsigned char *b, uint32_t value) {
  b[0] = (unsigned char)(value >> 8);
  b[1] = (unsigned char)value;
}

static void put32(unsigned char *b, uint32_t value) {
  put16(b, value >> 16);
  put16(b + 2, value);
}

/* The one's complement sum of 16-bit words, as in the checksums of RFC 1071. */
static uint32_t sum_of(const unsigned char *b, int length, uint32_t sum) {
  for (int i = 0; i < length; i += 2) sum += (uint32_t)b[i] << 8 | b[i + 1];
  while (sum >> 16) sum = (sum & 0xffff) + (sum >> 16);
  return sum;
}

/* Segments in one, of which only the bytes of payload from `start` to `end` arrive. */
static struct packet *cut_out(const unsigned char *whole, int ip_bytes, int headers, int start, int end, int payload) {
  head h;
  memcpy(&h, whole, sizeof h);
  struct packet *p = make_packet((int)sizeof h + headers + end - start);
  unsigned char *ip = p->bytes + sizeof h, *tcp = ip + ip_bytes;
  memcpy(ip, whole + sizeof h, (size_t)headers);
  memcpy(ip + headers, whole + sizeof h + headers + start, (size_t)(end - start));
  put16(ip + 2, (uint32_t)(headers + end - start));
  put16(ip + 4, (get32(ip + 4) >> 16) + (uint32_t)(start / h.gso_size));
  put16(ip + 10, 0);
  put16(ip + 10, ~sum_of(ip, ip_bytes, 0));
  put32(tcp + 4, get32(tcp + 4) + (uint32_t)start);
  if (end < payload) tcp[13] &= (unsigned char)~(FIN | PUSH);
  /* The kernel completes it: so far it is the sum of what TCP counts of the addresses, and of the length. */
  put16(tcp + 16, sum_of(ip + 12, 8, (uint32_t)(TCP + headers - ip_bytes + end - start)));
  if (end - start <= h.gso_size) {
    h.gso_type = VIRTIO_NET_HDR_GSO_NONE;
    h.gso_size = 0;
  }
  memcpy(p->bytes, &h, sizeof h);
  return p;
}

static void send_on(struct direction *d, const unsigned char *bytes, int length) {
  head h;
  memcpy(&h, bytes, sizeof h);
  const unsigned char *ip = bytes + sizeof h;
  int size = length - (int)sizeof h;
  if (h.gso_type == VIRTIO_NET_HDR_GSO_NONE) {
    if (!passes(d, size, 0)) return;
    struct packet *p = make_packet(length);
    memcpy(p->bytes, bytes, (size_t)length);
    put_on(d, p, size);
    return;
  }
  int ip_bytes = (ip[0] & 15) * 4, headers = ip_bytes + (ip[ip_bytes + 12] >> 4) * 4, payload = size - headers;
  int start = 0, wire_bytes = 0;
  for (int at = 0; at < payload;) {
    int end = at + h.gso_size < payload ? at + h.gso_size : payload, segment = headers + end - at;
    int arrives = passes(d, segment, wire_bytes);
    if (arrives) wire_bytes += segment;
    if (wire_bytes > 0 && (!arrives || end == payload))
      put_on(d, cut_out(bytes, ip_bytes, headers, start, arrives ? end : at, payload), wire_bytes);
    if (!arrives) {
      start = end;
      wire_bytes = 0;
    }
    at = end;
  }
}

/* Hands over what has arrived; answers how long until the next packet does, or -1. */
static int64_t deliver(struct direction *d) {
  while (d->first != NULL) {
    struct packet *p = d->first;
    int64_t left = (int64_t)(p->due - now_ns());
    if (left > 0) return left;
    d->first = p->next;
    if (d->first == NULL) d->last = NULL;
    d->queued_bytes -= p->wire_bytes;
    /* A device that is full or down loses packets, as everywhere. */
    if (!cut && write(d->to, p->bytes, (size_t)p->length) < 0) { }
    free(p);
  }
  return -1;
}

static void *carry(void *argument) {
  struct direction *d = argument;
  unsigned char bytes[LARGEST_PACKET];
  const struct timespec between_turns = {.tv_nsec = NS_BETWEEN_TURNS};
  for (;;) {
    nanosleep(&between_turns, NULL);
    int64_t left = deliver(d);
    struct timespec wait = {.tv_sec = left / 1000000000, .tv_nsec = left % 1000000000};
    struct pollfd readable = {.fd = d->from, .events = POLLIN};
    if (ppoll(&readable, 1, left < 0 ? NULL : &wait, NULL) < 1) continue;
    for (int i = 0; i < READS_IN_TURN; i++) {
      ssize_t length = read(d->from, bytes, sizeof bytes);
      if (length <= (ssize_t)sizeof(head)) break;
      send_on(d, bytes, (int)length);
    }
  }
}

int main(int count, char **arguments) {
  offload = count == 7 && strcmp(arguments[6], "offload") == 0;
  if (count != 6 && !offload) {
    fprintf(stderr, "usage: %s NAMESPACE NAMESPACE DELAY_MS LOSS_PERCENT RATE_MBIT [offload]\n", arguments[0]);
    return 2;
  }
  delay_ns = (uint64_t)(atof(arguments[3]) * 1e6);
  loss = atof(arguments[4]) / 100;
  bits_per_ns = atof(arguments[5]) / 1e3;
  most_bytes = (int64_t)(bits_per_ns / 8 * (double)(delay_ns + 50000000));
  int a = open_end(arguments[1]), b = open_end(arguments[2]);
  signal(SIGUSR1, on_signal);
  signal(SIGUSR2, on_signal);
  static struct direction there, back;
  there = (struct direction){.from = a, .to = b, .seed = 1};
  back = (struct direction){.from = b, .to = a, .seed = 2};
  const struct sched_param priority = {.sched_priority = 1};
  if (sched_setscheduler(0, SCHED_FIFO, &priority) != 0) die("sched_setscheduler");
  pthread_t thread;
  if (pthread_create(&thread, NULL, carry, &back) != 0) die("pthread_create");
  printf("ready\n");
  fflush(stdout);
  carry(&there);
}
