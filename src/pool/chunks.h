/* Chunks: stretches of the exact region that are locked as one, and their parts. A registered chunk is one registration with
 * a device: it is locked whole, from its first to its last byte, and goes back whole. An mlocked chunk is a stretch of
 * addresses: its parts are locked and unlocked page by page, and what is not locked is a hole.
 *
 * Every byte of a chunk lies in exactly one part, and every part has a record: live, in flight, busy, or free and then in
 * the free cache. Free neighbours of one kind are one part, so a part's neighbours are never free as it is. A part never
 * lies across two chunks, since no copy may lie across two registrations.
 *
 * Pure book-keeping: no system call, no jemalloc. Every call with the pool's lock held. */
#ifndef PT_CHUNKS_H
#define PT_CHUNKS_H

#include "pool/chunk_table.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

void pt_chunks_init(void);

/* A chunk over [base, base + len), whole pages, registered already if it is of that kind. All of it is one busy part, whose
 * number is returned; 0: there is no room for more. `base` is what the address arena gave. */
uint32_t pt_chunks_add(void *base, size_t len, enum pt_chunk_kind kind);

/* Cuts a part that is busy down to `need` bytes; the rest is free, locked or not. Where no record can be had for it, the
 * part stays as it is. */
void pt_chunks_cut(uint32_t number, size_t need, bool locked);

/* Takes the first `need` bytes of a free part: it is busy then. */
void pt_chunks_take(uint32_t number, size_t need);

/* The same with the last `need` bytes, which become a part of their own: its number; 0: there is no room for one. */
uint32_t pt_chunks_take_tail(uint32_t number, size_t need);

/* Two busy neighbours become one. */
void pt_chunks_join(uint32_t number, uint32_t later);

/* Whether it is a part, and nobody uses it: locked or not. */
bool pt_chunks_is_free(uint32_t number);

/* A part that is live, in flight or busy becomes free, and waits since then: locked, which it is in a registered chunk, or
 * not. Returns the part that it has become, joined with its neighbours. */
uint32_t pt_chunks_give(uint32_t number, bool locked, uint64_t since_ns);

enum pt_chunk_kind pt_chunks_kind(uint32_t number);

/* Whether the part is all of its chunk; and whether nobody uses a byte of its chunk. */
bool pt_chunks_is_whole(uint32_t number);
bool pt_chunks_is_unused(uint32_t number);

/* Takes the mlocked free part that waits longest, since before then, to be unlocked, or not much more than `enough` bytes of
 * it. 0: there is none, or none that may become a hole: those are few, since each costs mappings. */
uint32_t pt_chunks_take_oldest(uint64_t before_ns, size_t enough);

/* Registered chunks of which nobody uses a byte: their bytes; and one of them, as a busy part, the best to go when
 * `deficit` bytes have to: the smallest that is an eighth of that at least, or else the largest. SIZE_MAX: any, since
 * all have to. 0: there is none. */
size_t pt_chunks_unused(void);
uint32_t pt_chunks_take_unused(size_t deficit);

/* Goes through the registered chunks, from *chunk == 0 on: the next one, which cannot go before the next call. False: that was
 * the last one. */
bool pt_chunks_hold_next_registered(uint32_t *chunk, void **base, size_t *len);

/* A chunk that is one busy part goes. Returns the addresses that belong to the address arena again, or NULL while other chunks
 * still lie there. */
void *pt_chunks_remove(uint32_t number);

/* A live part of an mlocked chunk becomes a chunk of its own, which is registered by now. False: no room for more chunks. */
bool pt_chunks_convert(uint32_t number);

#endif
