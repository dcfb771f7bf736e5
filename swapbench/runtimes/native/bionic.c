/* The start-up code of an Android program that is built without the NDK: replaces its crtbegin_dynamic.o. */

typedef struct {
    void (**preinit)(void), (**init)(void), (**fini)(void);
    unsigned long preinit_count, init_count, fini_count;
} Structors;

extern void __libc_init(void *arguments, void (*at_exit)(void), int (*slingshot)(int, char **, char **),
                        const Structors *);
extern int main(int, char **, char **);

__attribute__((used)) static void start_with(void *arguments) {
    static const Structors none = {0};
    __libc_init(arguments, 0, main, &none);
}

/* the kernel leaves argc, argv and the environment on the stack */
__asm__(".globl _start\n"
        ".type _start,%function\n"
        "_start: mov x29, #0\n"
        " mov x30, #0\n"
        " mov x0, sp\n"
        " b start_with\n");

/* musl's headers reach errno through __errno_location; bionic calls it __errno */
extern int *__errno(void);
int *__errno_location(void) { return __errno(); }
