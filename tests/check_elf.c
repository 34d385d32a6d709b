/* The tables of an object, made here: what loaders and linkers may leave out, or put there in another way. */
#include "base/elf.h"
#include "suite.h"

#include <stddef.h>
#include <stdint.h>

enum { NOTHING, UNDEFINED, ZERO, HIDDEN, DEFAULT, DATA, PER_THREAD, OUTER, INNER, CHOSEN, SYMBOLS };
enum { NOTES = 4096 };

static struct object {
    Elf64_Ehdr head;
    Elf64_Phdr segment[4];
    Elf64_Dyn dynamic[12];
    Elf64_Sym symbol[SYMBOLS];
    char strings[200];
    uint32_t hash[2 + 1 + SYMBOLS], gnu[4 + 2 + 1 + SYMBOLS];
    Elf64_Half version[SYMBOLS];
    Elf64_Rela call[2];
    void *reached[2];
    char data[256];
    _Alignas(8) char notes[NOTES];
} object;

static size_t end_of_strings;

static Elf64_Word add_string(const char *s)
{
    Elf64_Word at = (Elf64_Word)end_of_strings;
    strcpy(object.strings + at, s);
    end_of_strings += strlen(s) + 1;
    return at;
}

static void symbol(int number, const char *name, unsigned type, uintptr_t value, size_t size)
{
    object.symbol[number] = (Elf64_Sym){.st_name = add_string(name),
                                        .st_info = (unsigned char)ELF64_ST_INFO(STB_GLOBAL, type),
                                        .st_shndx = number == UNDEFINED ? SHN_UNDEF : 1,
                                        .st_value = value,
                                        .st_size = size};
}

static int chosen;
static void *choose(void)
{
    return &chosen;
}

#define PLACE(member) offsetof(struct object, member)
#define DATA_AT(n)    (PLACE(data) + (n))

static uint32_t gnu_hash(const char *name)
{
    uint32_t hash = 5381;
    for (; *name != '\0'; name++) {
        hash = hash * 33 + (unsigned char)*name;
    }
    return hash;
}

static void make(void)
{
    object = (struct object){0};
    end_of_strings = 1;
    memcpy(object.head.e_ident, ELFMAG, SELFMAG);
    object.head.e_phoff = PLACE(segment);
    object.head.e_phnum = 4;
    object.segment[0] = (Elf64_Phdr){.p_type = PT_LOAD, .p_vaddr = 100, .p_memsz = sizeof object - 100};
    object.segment[1] = (Elf64_Phdr){.p_type = PT_LOAD, .p_vaddr = 0, .p_memsz = 100};
    object.segment[2] = (Elf64_Phdr){.p_type = PT_DYNAMIC, .p_vaddr = PLACE(dynamic)};
    object.segment[3] = (Elf64_Phdr){.p_type = PT_NOTE, .p_vaddr = PLACE(notes)};
    symbol(NOTHING, "", 0, 0, 0);
    symbol(UNDEFINED, "undefined", STT_FUNC, DATA_AT(0), 8);
    symbol(ZERO, "zero", STT_FUNC, 0, 8);
    symbol(HIDDEN, "function", STT_FUNC, DATA_AT(8), 8);
    symbol(DEFAULT, "function", STT_FUNC, DATA_AT(16), 8);
    symbol(DATA, "data", STT_OBJECT, DATA_AT(24), 0);
    symbol(PER_THREAD, "per_thread", STT_TLS, DATA_AT(32), 8);
    symbol(OUTER, "outer", STT_FUNC, DATA_AT(64), 64);
    symbol(INNER, "inner", STT_FUNC, DATA_AT(80), 16);
    symbol(CHOSEN, "chosen", STT_GNU_IFUNC, (uintptr_t)choose - (uintptr_t)&object, 8);
    object.version[HIDDEN] = 0x8002;
    object.version[DEFAULT] = 3;
    object.hash[0] = 1;
    object.hash[1] = SYMBOLS;
    object.hash[2] = 1; /* the only bucket: all of them */
    memcpy(object.gnu, (uint32_t[]){1, 1, 1, 0, 0, 0, 1}, 7 * sizeof(uint32_t));
    for (uint32_t i = 1; i < SYMBOLS; i++) {
        object.hash[3 + i] = i + 1 < SYMBOLS ? i + 1 : 0;
        object.gnu[7 + i - 1] = (gnu_hash(object.strings + object.symbol[i].st_name) & ~1u) | (i + 1 == SYMBOLS);
    }
    object.call[0] = (Elf64_Rela){.r_offset = PLACE(reached[0]), .r_info = ELF64_R_INFO(UNDEFINED, 7)};
    object.call[1] = (Elf64_Rela){.r_offset = PLACE(reached[1]), .r_info = ELF64_R_INFO(DATA, 7)};
    object.reached[0] = &object.data[1];
    object.reached[1] = &object.data[2];
}

/* As addresses, as glibc leaves them, or as in the file. */
static bool as_addresses;

static Elf64_Dyn entry(Elf64_Sxword tag, size_t place)
{
    return (Elf64_Dyn){.d_tag = tag, .d_un.d_ptr = place + (as_addresses ? (uintptr_t)&object : 0)};
}

static bool is_read(struct pt_elf *out)
{
    return pt_elf_of_headers((uintptr_t)&object, object.segment, 4, out);
}

static struct pt_elf with(Elf64_Sxword hash, bool versions)
{
    struct pt_elf elf;
    unsigned n = 0;
    object.dynamic[n++] = (Elf64_Dyn){.d_tag = DT_NEEDED, .d_un.d_val = add_string("first.so")};
    object.dynamic[n++] = entry(DT_SYMTAB, PLACE(symbol));
    object.dynamic[n++] = entry(DT_STRTAB, PLACE(strings));
    object.dynamic[n++] = entry(hash, hash == DT_HASH ? PLACE(hash) : PLACE(gnu));
    object.dynamic[n++] = (Elf64_Dyn){.d_tag = DT_NEEDED, .d_un.d_val = add_string("second.so")};
    object.dynamic[n++] = entry(DT_JMPREL, PLACE(call));
    object.dynamic[n++] = (Elf64_Dyn){.d_tag = DT_PLTRELSZ, .d_un.d_val = sizeof object.call};
    if (versions) {
        object.dynamic[n++] = entry(DT_VERSYM, PLACE(version));
    }
    object.dynamic[n] = (Elf64_Dyn){.d_tag = DT_NULL};
    ck_assert(is_read(&elf));
    return elf;
}

static void *data(size_t at)
{
    return object.data + at;
}

START_TEST(symbols_by_either_hash)
{
    for (int way = 0; way < 4; way++) {
        as_addresses = way % 2 == 1;
        make();
        struct pt_elf elf = with(way < 2 ? DT_HASH : DT_GNU_HASH, true);
        ck_assert_uint_eq(elf.from, (uintptr_t)&object);
        ck_assert_uint_eq(elf.len, sizeof object);
        ck_assert_ptr_eq(pt_elf_symbol(&elf, "function"), data(16)); /* the default version */
        ck_assert_ptr_eq(pt_elf_symbol(&elf, "data"), data(24));
        ck_assert_ptr_eq(pt_elf_symbol(&elf, "chosen"), &chosen);
        static const char *const none[] = {"undefined", "zero", "per_thread", "no such", "", "functio", "function2"};
        for (unsigned i = 0; i < sizeof none / sizeof none[0]; i++) {
            ck_assert_ptr_null(pt_elf_symbol(&elf, none[i]));
        }
    }
    make();
    struct pt_elf elf = with(DT_HASH, false);
    ck_assert_ptr_eq(pt_elf_symbol(&elf, "function"), data(8)); /* without versions the first one */
}
END_TEST

START_TEST(hashes_that_lead_to_nothing)
{
    uintptr_t begins;
    make();
    object.hash[0] = 0;
    object.gnu[0] = 0;
    struct pt_elf old = with(DT_HASH, true);
    ck_assert_ptr_null(pt_elf_find(&old, "function"));
    make();
    object.gnu[0] = 0;
    struct pt_elf new = with(DT_GNU_HASH, true);
    ck_assert_ptr_null(pt_elf_find(&new, "function"));
    ck_assert_ptr_null(pt_elf_name_of(&new, (uintptr_t)data(16), &begins));
    ck_assert_uint_eq(begins, 0);
    make();
    object.gnu[6] = 0; /* a bucket without symbols */
    new = with(DT_GNU_HASH, true);
    ck_assert_ptr_null(pt_elf_find(&new, "function"));
    ck_assert_ptr_null(pt_elf_name_of(&new, (uintptr_t)data(16), &begins));
}
END_TEST

START_TEST(names_of_addresses)
{
    static const struct {
        size_t at, begins;
        const char *name;
    } cases[] = {{16, 16, "function"}, {23, 16, "function"}, {24, 24, "data"},  {25, 0, NULL},     {0, 0, NULL},
                 {32, 0, NULL},        {64, 64, "outer"},    {79, 64, "outer"}, {80, 80, "inner"}, {95, 80, "inner"},
                 {96, 64, "outer"},    {127, 64, "outer"},   {128, 0, NULL}};
    for (int way = 0; way < 2; way++) {
        make();
        struct pt_elf elf = with(way == 0 ? DT_HASH : DT_GNU_HASH, true);
        for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
            uintptr_t begins;
            const char *name = pt_elf_name_of(&elf, (uintptr_t)data(cases[i].at), &begins);
            if (cases[i].name == NULL) {
                ck_assert_ptr_null(name);
                ck_assert_uint_eq(begins, 0);
            } else {
                ck_assert_str_eq(name, cases[i].name);
                ck_assert_ptr_eq((void *)begins, data(cases[i].begins));
            }
        }
        /* Of two that both go so far the one that begins later, in whatever order they come. */
        Elf64_Sym outer = object.symbol[OUTER];
        object.symbol[OUTER] = object.symbol[INNER];
        object.symbol[INNER] = outer;
        uintptr_t begins;
        ck_assert_str_eq(pt_elf_name_of(&elf, (uintptr_t)data(90), &begins), "inner");
    }
}
END_TEST

START_TEST(what_its_calls_go_to)
{
    make();
    struct pt_elf elf = with(DT_HASH, true);
    ck_assert_ptr_eq(pt_elf_bound(&elf, "undefined"), data(1));
    ck_assert_ptr_eq(pt_elf_bound(&elf, "data"), data(2));
    ck_assert_ptr_null(pt_elf_bound(&elf, "function"));
    elf.calls = NULL;
    ck_assert_ptr_null(pt_elf_bound(&elf, "undefined"));
}
END_TEST

START_TEST(what_it_was_linked_with)
{
    make();
    const Elf64_Dyn *last = NULL;
    struct pt_elf elf = with(DT_HASH, true);
    ck_assert_str_eq(pt_elf_next_needed(&elf, &last), "first.so");
    ck_assert_str_eq(pt_elf_next_needed(&elf, &last), "second.so");
    ck_assert_ptr_null(pt_elf_next_needed(&elf, &last));
}
END_TEST

START_TEST(an_object_without_symbols)
{
    static const Elf64_Sxword needed[][3] = {
        {0, DT_STRTAB, DT_HASH}, {DT_SYMTAB, 0, DT_HASH}, {DT_SYMTAB, DT_STRTAB, 0}};
    struct pt_elf elf;
    for (unsigned i = 0; i < 3; i++) {
        make();
        unsigned n = 0;
        for (unsigned k = 0; k < 3; k++) {
            if (needed[i][k] != 0) {
                object.dynamic[n++] = entry(needed[i][k], PLACE(strings));
            }
        }
        ck_assert(!is_read(&elf));
        ck_assert_uint_eq(elf.len, sizeof object); /* it is told all the same */
    }
    make();
    object.segment[2].p_type = PT_NULL;
    ck_assert(!is_read(&elf));
    ck_assert(!pt_elf_of_headers((uintptr_t)&object, object.segment, 0, &elf));
    ck_assert_uint_eq(elf.len, 0);
}
END_TEST

/* ---- what the linker marked it with ---- */

static size_t note(size_t at, const char *name, uint32_t name_bytes, uint32_t type, uint32_t bytes)
{
    Elf64_Nhdr head = {.n_namesz = name_bytes, .n_descsz = bytes, .n_type = type};
    memcpy(object.notes + at, &head, sizeof head);
    strcpy(object.notes + at + sizeof head, name);
    size_t begins = at + sizeof head + ((name_bytes + 3) & ~(size_t)3),
           end = begins + ((bytes + (size_t)3) & ~(size_t)3);
    for (size_t i = begins; i < end && i < NOTES; i++) {
        object.notes[i] = (char)i;
    }
    return end;
}

static unsigned id_of(size_t notes, const uint8_t **id)
{
    struct pt_elf elf = with(DT_HASH, true);
    object.segment[3].p_memsz = notes;
    return pt_elf_build_id(&elf, id);
}

START_TEST(a_build_id)
{
    const uint8_t *id;
    make();
    size_t other = note(0, "GNU", 4, NT_GNU_ABI_TAG, 16), another = note(other, "Xen", 4, NT_GNU_BUILD_ID, 3);
    size_t odd = note(another, "stapsdt", 8, NT_GNU_BUILD_ID, 5), end = note(odd, "GNU", 4, NT_GNU_BUILD_ID, 20);
    ck_assert_uint_eq(id_of(end, &id), 20);
    ck_assert_ptr_eq(id, object.notes + odd + 16);
    ck_assert_uint_eq(id_of(end - 1, &id), 0); /* cut off */
    make();
    ck_assert_uint_eq(id_of(note(0, "GNU", 4, NT_GNU_BUILD_ID, 100), &id), 32);
    make();
    ck_assert_uint_eq(id_of(11, &id), 0); /* no note has room there */
    ck_assert_uint_eq(id_of(0, &id), 0);
}
END_TEST

START_TEST(a_build_id_of_nonsense)
{
    static const uint32_t sizes[] = {UINT32_MAX, UINT32_MAX - 1, UINT32_MAX - 2, UINT32_MAX - 3, NOTES};
    const uint8_t *id = NULL;
    for (unsigned i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        make();
        Elf64_Nhdr head = {.n_namesz = 4, .n_descsz = sizes[i], .n_type = NT_GNU_BUILD_ID};
        memcpy(object.notes, &head, sizeof head);
        strcpy(object.notes + sizeof head, "GNU");
        ck_assert_uint_eq(id_of(16, &id), 0); /* it says more than there is */
        make();
        head.n_namesz = sizes[i];
        memcpy(object.notes, &head, sizeof head);
        ck_assert_uint_eq(id_of(NOTES, &id), 0);
    }
    ck_assert_ptr_null(id);
}
END_TEST

START_TEST(an_object_whose_head_tells_nothing)
{
    const uint8_t *id;
    make();
    size_t end = note(0, "GNU", 4, NT_GNU_BUILD_ID, 20);
    struct object whole = object;
    object.head.e_ident[0] = 0;
    ck_assert_uint_eq(id_of(end, &id), 0);
    object = whole;
    object.head.e_phoff = sizeof object + 1;
    ck_assert_uint_eq(id_of(end, &id), 0);
    object = whole;
    object.head.e_phoff = sizeof object - sizeof(Elf64_Phdr);
    ck_assert_uint_eq(id_of(end, &id), 0);
    object = whole;
    object.segment[3].p_vaddr = sizeof object + 1;
    ck_assert_uint_eq(id_of(end, &id), 0);
    object = whole;
    ck_assert_uint_eq(id_of(NOTES + 1000, &id), 0); /* it would end outside */
    object = whole;
    struct pt_elf small = {.from = (uintptr_t)&object, .len = sizeof object.head - 1};
    ck_assert_uint_eq(pt_elf_build_id(&small, &id), 0);
    ck_assert_uint_eq(id_of(end, &id), 20);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("elf");
    tcase_add_test(tests, symbols_by_either_hash);
    tcase_add_test(tests, hashes_that_lead_to_nothing);
    tcase_add_test(tests, names_of_addresses);
    tcase_add_test(tests, what_its_calls_go_to);
    tcase_add_test(tests, what_it_was_linked_with);
    tcase_add_test(tests, an_object_without_symbols);
    tcase_add_test(tests, a_build_id);
    tcase_add_test(tests, a_build_id_of_nonsense);
    tcase_add_test(tests, an_object_whose_head_tells_nothing);
    return suite_run("elf", tests);
}
