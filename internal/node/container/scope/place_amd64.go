package scope

const placeMachine = 62 // EM_X86_64

// placeCode is: again: pause(); goto again.
var placeCode = []byte{
	0xb8, 34, 0, 0, 0, // mov $SYS_pause, %eax
	0x0f, 0x05, // syscall
	0xeb, 0xf7, // jmp again
}
